"""A mixture of Gaussians, the smallest latent-variable model: z picks a component, x is drawn from it.

    p(x) = Σ_k π_k N(x; μ_k, Σ_k),        r_nk = p(z = k | x_n) = π_k N(x_n; μ_k, Σ_k) / p(x_n)

The posterior is exact, so the bound F(q, θ) = E_q log p(x, z) + H(q) ≤ log p(x) can be made tight: the E-step
maximises it over q (q = r), the M-step over θ, and the log-likelihood never falls. With N_k = Σ_n r_nk the M-step is

    π_k = N_k / N,    μ_k = Σ_n r_nk x_n / N_k,    Σ_k = Σ_n r_nk (x_n − μ_k)(x_n − μ_k)ᵀ / N_k    (the *new* μ_k)

The second way is gradient ascent on log p(x) in unconstrained parameters. By Fisher's identity its gradient is
E_r ∇ log p(x, z). An EM step is that gradient times a positive definite matrix, for the means Σ_k / N_k: uphill as
well, with a step size that needs no tuning (On Convergence Properties of the EM Algorithm for Gaussian Mixtures, Xu,
Jordan, 1996, https://doi.org/10.1162/neco.1996.8.1.129).

Maximum Likelihood from Incomplete Data via the EM Algorithm (Dempster, Laird, Rubin, 1977), section 4.3,
https://doi.org/10.1111/j.2517-6161.1977.tb01600.x; the bound is that of A View of the EM Algorithm that Justifies
Incremental, Sparse, and other Variants (Neal, Hinton, 1998), https://doi.org/10.1007/978-94-011-5014-9_12
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from reference_models.parts.distributions import GaussianMixture
from reference_models.parts.require import at_least, has_event_shape, has_shape
from reference_models.protocols import Elbo


def m_step(x: Tensor, responsibilities: Tensor, *, floor: float = 1e-6) -> GaussianMixture:
    """The parameters that maximise E_r log p(x, z).

    x: data, shape (N, D).
    responsibilities: r_nk, shape (N, K), rows summing to one.
    floor: added to the diagonal of every covariance, so that a component on a single point stays a density.
    """
    N, D = x.shape
    counts = responsibilities.sum(dim=0).clamp_min(10 * torch.finfo(x.dtype).eps)  # (K,)
    means = responsibilities.T @ x / counts[:, None]  # (K, D)
    deviation = x[:, None, :] - means  # (N, K, D)
    covariances = torch.einsum("nk,nki,nkj->kij", responsibilities, deviation, deviation) / counts[:, None, None]
    return GaussianMixture(counts / N, means, covariances + floor * torch.eye(D, dtype=x.dtype, device=x.device))


def em_step(x: Tensor, mixture: GaussianMixture, *, floor: float = 1e-6) -> GaussianMixture:
    """One E-step and one M-step on x, shape (N, D)."""
    return m_step(x, mixture.responsibilities(x), floor=floor)


@dataclass(frozen=True)
class EMFit:
    """`mixture` is the fit; `log_likelihoods` the mean log p(x) in nats before each step and after the last one."""

    mixture: GaussianMixture
    log_likelihoods: Tensor


@torch.no_grad()
def fit_by_em(
    x: Tensor, start: GaussianMixture, *, steps: int = 100, tolerance: float = 1e-6, floor: float = 1e-6
) -> EMFit:
    """EM from `start` until the mean log-likelihood gains less than `tolerance`, or for `steps` steps.

    Raises ValueError when x is not of shape (N, D), D being that of `start`, or holds no example.
    """
    has_event_shape("x", x, start.means.shape[1:])
    at_least("the number of examples", len(x) if x.ndim == 2 else 0, 1)
    mixture, trace = start, [start.log_prob(x).mean()]
    for _ in range(steps):
        mixture = em_step(x, mixture, floor=floor)
        trace.append(mixture.log_prob(x).mean())
        if trace[-1] - trace[-2] < tolerance:
            break
    return EMFit(mixture, torch.stack(trace))


def free_energy(x: Tensor, q: Tensor, mixture: GaussianMixture) -> Elbo:
    """The bound F(q, θ) of each example for any q(z | x), tight at the responsibilities.

    x: (*B, D); q: (*B, K), rows summing to one.
    Returns reconstruction = Σ_k q_k log N(x; μ_k, Σ_k) and kl = Σ_k q_k log(q_k / π_k), each (*B,), nats.
    """
    has_shape("q", q, (*x.shape[:-1], len(mixture.weights)))
    reconstruction = (q * component_log_prob(x, mixture)).sum(dim=-1)
    kl = (torch.special.xlogy(q, q) - q * mixture.weights.log()).sum(dim=-1)
    return Elbo(reconstruction - kl, reconstruction, kl)


def component_log_prob(x: Tensor, mixture: GaussianMixture) -> Tensor:
    """log N(x; μ_k, Σ_k) in nats: (*B, D) to (*B, K)."""
    normal = torch.distributions.MultivariateNormal(mixture.means, mixture.covariances)
    return normal.log_prob(x.unsqueeze(-2))


@torch.no_grad()
def spread_start(x: Tensor, components: int, *, generator: Generator | None = None) -> GaussianMixture:
    """A start for either method: means are data points far from one another, covariances that of the data over K².

    Each mean is drawn with probability proportional to the squared distance from those already drawn: k-means++: The
    Advantages of Careful Seeding (Arthur, Vassilvitskii, 2007), section 2.2, https://doi.org/10.5555/1283383.1283494
    """
    at_least("components", components, 1)
    at_least("the number of examples", len(x), components)
    D = x.shape[1]
    means = x[torch.randint(len(x), (1,), generator=generator, device=x.device)]  # (1, D)
    for _ in range(components - 1):
        distance = torch.cdist(x, means).min(dim=1).values ** 2 + torch.finfo(x.dtype).tiny
        means = torch.cat([means, x[torch.multinomial(distance, 1, generator=generator)]])
    deviation = x - x.mean(dim=0)
    covariance = deviation.T @ deviation / len(x) / components**2
    identity = torch.eye(D, dtype=x.dtype, device=x.device)
    return GaussianMixture(
        torch.full((components,), 1 / components, dtype=x.dtype, device=x.device),
        means,
        (covariance + 1e-6 * identity).expand(components, D, D),
    )


class MixtureOfGaussians(nn.Module):
    """The mixture for gradient ascent: π = softmax(logits), Σ_k = L_k L_kᵀ with e^{log_diagonal} on L_k's diagonal.

    start: a mixture to begin at, e.g. `spread_start(x, K)`.
    """

    def __init__(self, start: GaussianMixture) -> None:
        super().__init__()
        scale: Tensor = torch.linalg.cholesky(start.covariances)
        self.logits = nn.Parameter(start.weights.log())  # (K,)
        self.means = nn.Parameter(start.means.clone())  # (K, D)
        self.log_diagonal = nn.Parameter(scale.diagonal(dim1=-2, dim2=-1).log())  # (K, D)
        self.lower = nn.Parameter(scale.tril(-1))  # (K, D, D), used below the diagonal only

    def mixture(self) -> GaussianMixture:
        """The mixture these parameters stand for, differentiable in them."""
        scale = self.lower.tril(-1) + torch.diag_embed(self.log_diagonal.exp())
        return GaussianMixture(self.logits.softmax(dim=0), self.means, scale @ scale.mT)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats: (*B, D) to (*B,)."""
        has_event_shape("x", x, self.means.shape[1:])
        return self.mixture().log_prob(x)

    def elbo(self, x: Tensor, *, generator: Generator | None = None) -> Elbo:
        """The bound at the exact posterior, where it equals log p(x); nothing is drawn, `generator` is not used."""
        mixture = self.mixture()
        return free_energy(x, mixture.responsibilities(x), mixture)

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n draws, shape (n, D)."""
        return self.mixture().sample(n, generator=generator)

    def fit_by_gradient(self, x: Tensor, *, steps: int = 200, lr: float = 0.05) -> Tensor:
        """Adam on −mean log p(x), x (N, D), full batch; returns the mean log-likelihood before each step, (steps,)."""
        optimiser = torch.optim.Adam(self.parameters(), lr=lr)
        trace = []
        for _ in range(steps):
            optimiser.zero_grad()
            log_likelihood = self.log_prob(x).mean()
            (-log_likelihood).backward()
            optimiser.step()
            trace.append(log_likelihood.detach())
        return torch.stack(trace)
