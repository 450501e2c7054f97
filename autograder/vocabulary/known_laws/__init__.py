"""What the judge knows of the probes in `autograder.worker.probes`: their laws, exactly, a module for each family.

Nothing here runs in a sandbox. Public checks may use it as hidden ones do: a law says nothing about an answer.
"""

from autograder.vocabulary.known_laws.adversarial import DIVERGENCES, Divergence, weight_with_singular_values
from autograder.vocabulary.known_laws.autoregressive import strong_table, table_law
from autograder.vocabulary.known_laws.diffusion import (
    gaussian_recursion,
    mixture_log_prob,
    noise_table,
    table_energy_law,
    vp_moments,
)
from autograder.vocabulary.known_laws.flow_matching import euler_law, euler_path

__all__ = [
    "DIVERGENCES",
    "Divergence",
    "euler_law",
    "euler_path",
    "gaussian_recursion",
    "mixture_log_prob",
    "noise_table",
    "strong_table",
    "table_energy_law",
    "table_law",
    "vp_moments",
    "weight_with_singular_values",
]
