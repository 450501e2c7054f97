"""What the judge knows of the probes in `autograder.worker.probes`: their laws, exactly, a module for each family.

Nothing here runs in a sandbox. Public checks may use it as hidden ones do: a law says nothing about an answer.
"""

from autograder.vocabulary.known_laws.autoregressive import strong_table, table_law
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
    "LinearGaussianLaw",
    "affine_flow_law",
    "cell_log_probability",
    "cell_mean_log_density",
    "dense_pair",
    "encoder_near",
    "exact_encoder",
    "exponential_bias",
    "invertible_matrix",
    "linear_gaussian_law",
    "orthogonal_columns",
    "strong_table",
    "table_law",
    "triangular_pair",
]
