"""Probabilistic PCA: a linear Gaussian latent-variable model in which everything a bound approximates is known.

    z ~ N(0, I_d),    x | z ~ N(W z + μ, σ² I_D)                                         section 3.1
    p(x)   = N(x; μ, C),  C = W Wᵀ + σ² I
    p(z|x) = N(z; M⁻¹ Wᵀ (x − μ), σ² M⁻¹),  M = Wᵀ W + σ² I                              eq. 6
    W_ML   = U_d (Λ_d − σ² I)^{1/2},  σ²_ML = mean of the D − d smallest eigenvalues     eq. 7, 8

(λ, U: eigenvalues and vectors of the sample covariance, divided by N.) The exact evidence, posterior and bound of any
Gaussian q make it the oracle of the VAE family: a VAE with a linear decoder *is* this model.

Probabilistic Principal Component Analysis (Tipping, Bishop, 1999), https://doi.org/10.1111/1467-9868.00196
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from reference_models.latent.vae import VAE, GaussianPosterior, Posterior, StandardNormal
from reference_models.parts.distributions import HALF_LOG_2PI, standard_normal
from reference_models.parts.likelihoods import Gaussian
from reference_models.parts.require import has_event_shape, positive
from reference_models.protocols import Elbo


@dataclass(frozen=True)
class FullGaussian:
    """N(mean, covariance): `mean` of shape (*B, d), `covariance` (d, d) shared by all examples."""

    mean: Tensor
    covariance: Tensor

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density in nats: (*B, d) to (*B,)."""
        normal = torch.distributions.MultivariateNormal(self.mean, self.covariance)
        return normal.log_prob(z)


class PPCA(nn.Module):
    """The model with parameters `W` (D, d), `mean` μ (D,) and `log_std` log σ ()."""

    def __init__(self, W: Tensor, mean: Tensor, std: float | Tensor) -> None:
        super().__init__()
        if W.ndim != 2 or mean.shape != W.shape[:1]:
            raise ValueError(f"W must be (D, d) and mean (D,), got {tuple(W.shape)} and {tuple(mean.shape)}")
        positive("std", std)
        self.W = nn.Parameter(W.clone())
        self.mean = nn.Parameter(mean.clone())
        self.log_std = nn.Parameter(torch.as_tensor(std, dtype=W.dtype, device=W.device).log())

    @classmethod
    def random(cls, dim: int, latent_dim: int, *, std: float = 0.5, generator: Generator | None = None) -> PPCA:
        """A model with standard normal W and μ: a target whose evidence is known."""
        device = None if generator is None else generator.device
        draw = torch.randn(dim, latent_dim + 1, generator=generator, device=device)
        return cls(draw[:, 1:], draw[:, 0], std)

    @classmethod
    def maximum_likelihood(cls, x: Tensor, latent_dim: int) -> PPCA:
        """The fit in closed form (eq. 7, 8, rotation R = I) to x, shape (N, D); 0 < latent_dim < D."""
        N, D = x.shape
        if not 0 < latent_dim < min(D, N):
            shape = f"for x of shape {(N, D)}, got {latent_dim}"
            raise ValueError(f"latent_dim must lie between 1 and {min(D, N) - 1} {shape}")
        mean = x.mean(dim=0)
        S = (x - mean).T @ (x - mean) / N
        eigenvalues, U = torch.linalg.eigh(S)  # ascending
        variance = eigenvalues[: D - latent_dim].mean()
        W = U[:, D - latent_dim :] * (eigenvalues[D - latent_dim :] - variance).sqrt()
        return cls(W.flip(1), mean, variance.sqrt())

    @property
    def variance(self) -> Tensor:
        """σ², shape ()."""
        return (2 * self.log_std).exp()

    def _M(self) -> Tensor:  # noqa: N802  the paper's letter
        d = self.W.shape[1]
        return self.W.T @ self.W + self.variance * torch.eye(d, dtype=self.W.dtype, device=self.W.device)

    def log_prob(self, x: Tensor) -> Tensor:
        """log N(x; μ, C) in nats, through d × d matrices only: (*B, D) to (*B,)."""
        has_event_shape("x", x, self.mean.shape)
        D, d = self.W.shape
        M, deviation = self._M(), x - self.mean
        projected = deviation @ self.W  # (*B, d)
        # Woodbury: C⁻¹ = (I − W M⁻¹ Wᵀ) / σ²,  |C| = σ^{2(D−d)} |M|
        inverse: Tensor = torch.linalg.inv(M)
        inside = (projected @ inverse * projected).sum(dim=-1)
        quadratic = (deviation.square().sum(dim=-1) - inside) / self.variance
        log_det = 2 * (D - d) * self.log_std + torch.logdet(M)
        return -0.5 * (quadratic + log_det) - D * HALF_LOG_2PI

    def posterior(self, x: Tensor) -> FullGaussian:
        """p(z | x), exact (eq. 6); x: (*B, D)."""
        has_event_shape("x", x, self.mean.shape)
        inverse: Tensor = torch.linalg.inv(self._M())
        return FullGaussian((x - self.mean) @ self.W @ inverse, self.variance * inverse)

    def mean_field_posterior(self, x: Tensor) -> GaussianPosterior:
        """The diagonal Gaussian nearest to p(z | x) in KL(q ‖ p): same mean, precision its diagonal; x: (*B, D)."""
        exact = self.posterior(x)
        log_std = 0.5 * (self.variance / self._M().diagonal()).log()
        return GaussianPosterior(exact.mean, log_std.expand_as(exact.mean))

    def kl_to_posterior(self, q: GaussianPosterior, x: Tensor) -> Tensor:
        """KL(q ‖ p(z | x)), what the bound of q loses, in nats: q of shape (*B, d), x (*B, D) to (*B,)."""
        exact = self.posterior(x)
        precision = self._M() / self.variance
        difference, variance = q.mean - exact.mean, (2 * q.log_std).exp()
        trace = (variance * precision.diagonal()).sum(dim=-1)
        quadratic = (difference @ precision * difference).sum(dim=-1)
        log_ratio = -torch.logdet(precision) - 2 * q.log_std.sum(dim=-1)
        return 0.5 * (trace + quadratic - self.W.shape[1] + log_ratio)

    def elbo(self, x: Tensor, *, q: GaussianPosterior | None = None, generator: Generator | None = None) -> Elbo:
        """The bound of q in closed form, of the best diagonal Gaussian unless given; each part (*B,), nats.

        Nothing is drawn, `generator` is not used. value = log_prob(x) − kl_to_posterior(q, x).
        """
        q = self.mean_field_posterior(x) if q is None else q
        D = len(self.mean)
        residual = (x - self.mean - q.mean @ self.W.T).square().sum(dim=-1)
        spread = ((2 * q.log_std).exp() * self.W.square().sum(dim=0)).sum(dim=-1)  # tr(W diag(s²) Wᵀ)
        reconstruction = -0.5 * (residual + spread) / self.variance - D * (self.log_std + HALF_LOG_2PI)
        kl = q.kl_to_standard_normal()
        return Elbo(reconstruction - kl, reconstruction, kl)

    @torch.no_grad()
    def em_step(self, x: Tensor) -> PPCA:
        """One EM step on x, shape (N, D), with μ the sample mean, written in terms of S as in appendix B."""
        N, D = x.shape
        mean = x.mean(dim=0)
        S = (x - mean).T @ (x - mean) / N
        inverse, SW = torch.linalg.inv(self._M()), S @ self.W
        identity = torch.eye(self.W.shape[1], dtype=x.dtype, device=x.device)
        W = SW @ torch.linalg.inv(self.variance * identity + inverse @ self.W.T @ SW)
        variance = (S.trace() - (SW @ inverse @ W.T).trace()) / D
        return PPCA(W, mean, variance.sqrt())

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n draws of p(x), shape (n, D)."""
        D, d = self.W.shape
        noise = standard_normal((n, d + D), self.W, generator)
        return noise[:, :d] @ self.W.T + self.mean + self.log_std.exp() * noise[:, d:]

    def as_vae(self, encoder: Callable[[Tensor], Posterior] | None = None) -> VAE:
        """The same p(x, z) as a VAE with a copy of these parameters; q is the best diagonal Gaussian unless given."""
        D, d = self.W.shape
        decoder = nn.utils.skip_init(nn.Linear, d, D, dtype=self.W.dtype, device=self.W.device)
        with torch.no_grad():
            decoder.weight.copy_(self.W)
            decoder.bias.copy_(self.mean)
        likelihood = Gaussian(float(self.log_std.detach().exp()), learned=False).to(self.W)
        prior = StandardNormal(d).to(self.W)
        return VAE(encoder or self.mean_field_posterior, decoder, prior, likelihood, event_shape=(D,))
