r"""Kullback–Leibler and Jensen–Shannon divergences, and why minimising one of them is maximum likelihood.

    KL(p ‖ q) = E_p log p/q ≥ 0,       JS(p, q) = ½ KL(p ‖ m) + ½ KL(q ‖ m),  m = (p + q)/2,  in [0, log 2].

With the law p̂ of the data (each of N examples having mass 1/N) the mean negative log-likelihood of a model q is

    −(1/N) Σ_n log q(x_n) = H(p̂, q) = H(p̂) + KL(p̂ ‖ q),

and H(p̂) does not depend on q: maximum likelihood minimises the *forward* KL(p̂ ‖ q). It punishes q for missing data
and so covers every mode; on a family of Gaussians it matches mean and covariance. The *reverse* KL(q ‖ p), which
needs p's density but no data, punishes q for stepping where p is small, and settles in one mode: `GaussianFit` has
both.

Pattern Recognition and Machine Learning (Bishop, 2006), secs. 1.6.1 and 10.1.2,
https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/
Divergence Measures Based on the Shannon Entropy (Lin, 1991), sec. 4, https://doi.org/10.1109/18.61115
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from reference_models.parts.distributions import GaussianMixture, standard_normal
from reference_models.parts.require import at_least, has_event_shape
from reference_models.protocols import Density

__all__ = [
    "Estimate",
    "GaussianFit",
    "cross_entropy",
    "entropy",
    "gaussian_kl",
    "jensen_shannon",
    "kl_divergence",
    "law_of_counts",
    "monte_carlo_jensen_shannon",
    "monte_carlo_kl",
    "reverse_kl_divergence",
]


def require_laws(**laws: Tensor) -> None:
    """Refuse rows (*B, K) that are not probabilities, or rows of different length."""
    for name, p in laws.items():
        if p.ndim == 0 or not p.is_floating_point():
            raise ValueError(f"{name} must be probabilities of shape (*B, K), got {p.dtype} {tuple(p.shape)}")
        if not bool((p >= 0).all()) or not bool(((p.sum(-1) - 1).abs() <= 1e-4).all()):
            sums = p.sum(-1)
            found = f"values from {float(p.min()):g}, sums from {float(sums.min()):g} to {float(sums.max()):g}"
            raise ValueError(f"every row of {name} must be probabilities with sum 1, got {found}")
    widths = {name: p.shape[-1] for name, p in laws.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"laws must live on the same outcomes, got {widths}")


def entropy(p: Tensor) -> Tensor:
    """H(p) = −Σ p log p of laws (*B, K), nats, shape (*B,); 0 log 0 = 0."""
    require_laws(p=p)
    return -torch.special.xlogy(p, p).sum(-1)


def cross_entropy(p: Tensor, q: Tensor) -> Tensor:
    """H(p, q) = −Σ p log q, nats, shape (*B,): the mean negative log-likelihood of q under p; inf where q misses p."""
    require_laws(p=p, q=q)
    return -torch.special.xlogy(p, q).sum(-1)


def kl_divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p ‖ q) of laws (*B, K), nats, shape (*B,): forward when p is data and q the model; inf where q misses p."""
    require_laws(p=p, q=q)
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum(-1)


def reverse_kl_divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(q ‖ p), the same two laws with their roles exchanged, nats, shape (*B,)."""
    return kl_divergence(q, p)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """JS(p, q) of laws (*B, K), nats, shape (*B,): symmetric, at most log 2, its root a metric."""
    require_laws(p=p, q=q)
    middle = (p + q) / 2
    return (kl_divergence(p, middle) + kl_divergence(q, middle)) / 2


def law_of_counts(outcomes: Tensor, num_outcomes: int) -> Tensor:
    """The law p̂ of observed outcomes 0..K−1, long of shape (N,): shape (K,), in torch's default dtype."""
    if outcomes.ndim != 1 or len(outcomes) == 0 or outcomes.is_floating_point():
        raise ValueError(f"outcomes must be whole numbers of shape (N,), got {outcomes.dtype} {tuple(outcomes.shape)}")
    if int(outcomes.min()) < 0 or int(outcomes.max()) >= num_outcomes:
        values = f"values in [{int(outcomes.min())}, {int(outcomes.max())}]"
        raise ValueError(f"every outcome must lie in 0..{num_outcomes - 1}, got {values}")
    counts = torch.bincount(outcomes, minlength=num_outcomes)
    return counts.to(torch.get_default_dtype()) / len(outcomes)


def gaussian_kl(mean_p: Tensor, cov_p: Tensor, mean_q: Tensor, cov_q: Tensor) -> Tensor:
    """KL(N(m_p, P) ‖ N(m_q, Q)) = ½ [tr Q⁻¹P + (m_q − m_p)' Q⁻¹ (m_q − m_p) − D + log det Q / det P], nats.

    Means (*B, D), covariances (*B, D, D), symmetric and positive definite; shape (*B,). Raises ValueError for
    covariances that are not.
    """
    roots = []
    for name, cov in (("cov_p", cov_p), ("cov_q", cov_q)):
        off = float((cov - cov.mT).detach().abs().max())
        if not off <= 1e-4 * float(cov.detach().abs().max()):
            raise ValueError(f"{name} must be symmetric, got one off by {off:g}")
        root, failed = torch.linalg.cholesky_ex(cov)
        if bool((failed > 0).any()):
            least = float(torch.linalg.eigvalsh(cov).min())
            raise ValueError(f"{name} must be positive definite, got an eigenvalue of {least:g}")
        roots.append(root)
    root_p, root_q = roots
    whitened = torch.linalg.solve_triangular(root_q, root_p, upper=False)  # L_q⁻¹ L_p
    offset = torch.linalg.solve_triangular(root_q, (mean_q - mean_p)[..., None], upper=False)[..., 0]
    log_ratio = root_q.diagonal(dim1=-2, dim2=-1).log().sum(-1) - root_p.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    trace = (whitened**2).sum((-2, -1))
    return 0.5 * (trace + (offset**2).sum(-1) - mean_p.shape[-1]) + log_ratio


@dataclass(frozen=True)
class Estimate:
    """A Monte Carlo average and its standard error, scalars."""

    value: Tensor
    standard_error: Tensor


def _average(terms: Tensor) -> Estimate:
    return Estimate(terms.mean(), terms.std() / len(terms) ** 0.5)


def monte_carlo_kl(p: Density, q: Density, n: int = 1000, *, generator: Generator | None = None) -> Estimate:
    """KL(p ‖ q) in nats from n ≥ 2 samples of p: the average of log p − log q."""
    at_least("n", n, 2)
    x = p.sample(n, generator=generator)
    return _average(p.log_prob(x) - q.log_prob(x))


def monte_carlo_jensen_shannon(
    p: Density, q: Density, n: int = 1000, *, generator: Generator | None = None
) -> Estimate:
    """JS(p, q) in nats from n ≥ 2 samples of each: what a perfect discriminator of a GAN reports as ½ V(D*) + log 2."""
    at_least("n", n, 2)
    x, y = p.sample(n, generator=generator), q.sample(n, generator=generator)
    log_2 = torch.log(torch.tensor(2.0, dtype=x.dtype, device=x.device))
    at_x = log_2 - nn.functional.softplus(q.log_prob(x) - p.log_prob(x))  # log p/m
    at_y = log_2 - nn.functional.softplus(p.log_prob(y) - q.log_prob(y))  # log q/m
    return _average((at_x + at_y) / 2)


class GaussianFit(nn.Module):
    """q = N(μ, L L'), with L lower triangular and e^{...} on its diagonal, to be fitted by either divergence."""

    def __init__(self, dim: int, mean: Tensor | None = None) -> None:
        super().__init__()
        at_least("dim", dim, 1)
        if mean is not None:
            has_event_shape("mean", mean, (dim,))
        self.dim = dim
        self.mean = nn.Parameter(torch.zeros(dim) if mean is None else mean.detach().clone())
        self.log_diagonal = nn.Parameter(torch.zeros_like(self.mean))
        self.below = nn.Parameter(torch.zeros(dim, dim).to(self.mean))

    @property
    def scale(self) -> Tensor:
        """L, shape (D, D)."""
        lower: Tensor = self.below.tril(-1)
        return lower + self.log_diagonal.exp().diag()

    @property
    def covariance(self) -> Tensor:
        """L L', shape (D, D)."""
        return self.scale @ self.scale.T

    def log_prob(self, x: Tensor) -> Tensor:
        """log q(x) of x (*B, D), nats, shape (*B,)."""
        has_event_shape("x", x, (self.dim,))
        z: Tensor = torch.linalg.solve_triangular(self.scale, (x - self.mean)[..., None], upper=False)[..., 0]
        constant = 0.5 * self.dim * torch.log(torch.tensor(2 * torch.pi, dtype=x.dtype, device=x.device))
        return -0.5 * (z**2).sum(-1) - self.log_diagonal.sum() - constant

    def rsample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n draws (n, D) that carry gradients to μ and L."""
        return self.mean + standard_normal((n, self.dim), self.mean, generator) @ self.scale.T

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n draws, shape (n, D)."""
        with torch.no_grad():
            return self.rsample(n, generator=generator)

    def forward_kl_loss(self, x: Tensor) -> Tensor:
        """−mean log q(x) over data (N, D): KL(p̂ ‖ q) but for the entropy of the data, nats, a scalar."""
        return -self.log_prob(x).mean()

    def reverse_kl_loss(self, target: GaussianMixture, n: int = 256, *, generator: Generator | None = None) -> Tensor:
        """KL(q ‖ target) from n draws of q, nats, a scalar; the gradient goes through the draws."""
        x = self.rsample(n, generator=generator)
        return (self.log_prob(x) - target.log_prob(x)).mean()
