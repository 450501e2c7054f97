"""A linear-Gaussian model whose evidence and posterior the tests write down with dense matrices and other libraries."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from reference_models.latent.ppca import PPCA
from reference_models.latent.vae import GaussianPosterior
from tests.reference_models.helpers import numpy

D, LATENT, STD = 4, 2, 0.7


def model(latent_dim: int = LATENT) -> PPCA:
    """A pPCA with random parameters, x in 4 dimensions."""
    return PPCA(torch.randn(D, latent_dim), torch.randn(D), STD)


def evidence(ppca: PPCA, x: Tensor) -> Tensor:
    """log N(x; μ, W Wᵀ + σ² I) by SciPy."""
    W, variance = numpy(ppca.W), float(ppca.variance.detach())
    law = multivariate_normal(numpy(ppca.mean), W @ W.T + variance * np.eye(D))
    return torch.as_tensor(law.logpdf(numpy(x))).to(x)


def posterior(ppca: PPCA, x: Tensor) -> MultivariateNormal:
    """p(z | x) from the joint Gaussian of (z, x): conditioning through D × D matrices."""
    gain = ppca.W.T @ torch.linalg.inv(ppca.W @ ppca.W.T + ppca.variance * torch.eye(D))  # Cov(z, x) Cov(x)⁻¹
    covariance = torch.eye(ppca.W.shape[1]) - gain @ ppca.W
    covariance = 0.5 * (covariance + covariance.T)
    return MultivariateNormal((x - ppca.mean) @ gain.T, covariance)


def as_torch(q: GaussianPosterior) -> MultivariateNormal:
    """The same diagonal Gaussian, as torch writes it."""
    return MultivariateNormal(q.mean, torch.diag_embed((2 * q.log_std).exp()))


def sigma_points(d: int, n: int) -> Tensor:
    """Noise (2d, n, d) over which the mean of any quadratic in z is its expectation: ±√d e_j."""
    points = d**0.5 * torch.cat([torch.eye(d), -torch.eye(d)])  # (2d, d)
    return points[:, None, :].expand(2 * d, n, d)


class FreePosterior(nn.Module):
    """q(z | x) whose parameters are free, a mean and a log-std for each of n examples: an encoder without network."""

    def __init__(self, n: int, d: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.randn(n, d))
        self.log_std = nn.Parameter(0.3 * torch.randn(n, d) - 0.2)

    def forward(self, x: Tensor) -> GaussianPosterior:
        return GaussianPosterior(self.mean, self.log_std)
