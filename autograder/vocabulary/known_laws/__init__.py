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
from autograder.vocabulary.known_laws.flows import (
    affine_flow_law,
    cell_log_probability,
    cell_mean_log_density,
    dense_pair,
    exponential_bias,
    invertible_matrix,
    triangular_pair,
)
from autograder.vocabulary.known_laws.latent import (
    LinearGaussianLaw,
    encoder_near,
    exact_encoder,
    linear_gaussian_law,
    orthogonal_columns,
)

__all__ = [
    "DIVERGENCES",
    "Divergence",
    "LinearGaussianLaw",
    "affine_flow_law",
    "cell_log_probability",
    "cell_mean_log_density",
    "dense_pair",
    "encoder_near",
    "euler_law",
    "euler_path",
    "exact_encoder",
    "exponential_bias",
    "gaussian_recursion",
    "invertible_matrix",
    "linear_gaussian_law",
    "mixture_log_prob",
    "noise_table",
    "orthogonal_columns",
    "strong_table",
    "table_energy_law",
    "table_law",
    "triangular_pair",
    "vp_moments",
    "weight_with_singular_values",
]
