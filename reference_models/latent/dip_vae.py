"""DIP-VAE: the aggregate posterior's covariance is pushed to the identity, so that codes are uncorrelated on average.

β-VAE asks every q(z|x) to be near the prior and pays in reconstruction. Here the bound keeps weight one and only the
aggregate q(z) = E_x q(z|x) is constrained, through its second moment (μ, Σ: mean and covariance of q(z|x)):

    Cov_q(z) = E_x[Σ(x)] + Cov_x[μ(x)]                                       (law of total covariance)
    DIP-VAE-I   C = Cov_x[μ(x)];    DIP-VAE-II   C = Cov_q(z)
    maximise  E_x L(x) − λ_od Σ_{i≠j} C_ij² − λ_d Σ_i (C_ii − 1)²                            eq. 6, 7

Variational Inference of Disentangled Latent Concepts from Unlabeled Observations (Kumar, Sattigeri, Balakrishnan,
2018), https://arxiv.org/abs/1711.00848

NOTE: covariances are those of the batch, divided by its size N; the paper leaves the divisor open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from reference_models.latent.beta_vae import BetaVAE
from reference_models.latent.vae import VAE, GaussianPosterior, mlp_vae
from reference_models.parts.require import at_least, one_of
from reference_models.protocols import Elbo


def covariance(x: Tensor) -> Tensor:
    """The covariance of N vectors about their mean, divided by N: (N, d) to (d, d). Raises ValueError for N < 2."""
    at_least("the batch size", len(x), 2)
    deviation = x - x.mean(dim=0)
    return deviation.T @ deviation / len(x)


@dataclass(frozen=True)
class DIPPenalty:
    """The two sums of eq. 6, 7 before their weights: `off_diagonal` = Σ_{i≠j} C_ij², `diagonal` = Σ_i (C_ii − 1)²."""

    off_diagonal: Tensor
    diagonal: Tensor


def dip_penalty(q: GaussianPosterior, version: Literal["I", "II"]) -> DIPPenalty:
    """The penalty of the posteriors of a batch, `q.mean` and `q.log_std` of shape (N, d); each part has shape ()."""
    one_of("version", version, ("I", "II"))
    C = covariance(q.mean)
    if version == "II":
        C = C + torch.diag((2 * q.log_std).exp().mean(dim=0))
    variances = C.diagonal()
    return DIPPenalty((C - torch.diag(variances)).square().sum(), (variances - 1).square().sum())


def sap_score(codes: Tensor, factors: Tensor) -> Tensor:
    """Separated attribute predictability of continuous factors, shape (): how much better the best code axis predicts
    each factor than the second best, the mean over factors of the difference in R² (section 3; 1 is disentangled).

    codes: E_q z of N examples, (N, d), d ≥ 2; factors: what made them, (N, F).
    """
    if codes.ndim != 2 or codes.shape[1] < 2 or factors.shape[:-1] != codes.shape[:1]:
        raise ValueError(f"codes must be (N, d >= 2), factors (N, F), got {tuple(codes.shape)}, {tuple(factors.shape)}")
    z, v = codes - codes.mean(dim=0), factors - factors.mean(dim=0)
    tiny = torch.finfo(codes.dtype).tiny  # a code that never moves predicts nothing
    R2 = (z.T @ v).square() / (z.square().sum(dim=0)[:, None] * v.square().sum(dim=0)).clamp_min(tiny)  # (d, F)
    best = R2.topk(2, dim=0).values
    return (best[0] - best[1]).mean()


class DIPVAE(nn.Module):
    """A VAE with Gaussian posterior, trained on the bound minus the penalty.

    version: "I" or "II". lambda_od, lambda_d: weights of the off-diagonal and diagonal sums; the paper takes
    λ_d = 10 λ_od for I and λ_d = λ_od for II (section 4).
    """

    def __init__(
        self, vae: VAE, version: Literal["I", "II"] = "II", *, lambda_od: float = 5.0, lambda_d: float | None = None
    ) -> None:
        super().__init__()
        one_of("version", version, ("I", "II"))
        at_least("lambda_od", lambda_od, 0)
        self.vae, self.version, self.lambda_od = vae, version, lambda_od
        self.lambda_d = lambda_d if lambda_d is not None else lambda_od * (10 if version == "I" else 1)
        at_least("lambda_d", self.lambda_d, 0)

    @classmethod
    def mlp(
        cls, event_shape: Sequence[int] = (1, 8, 8), latent_dim: int = 8, version: Literal["I", "II"] = "II"
    ) -> DIPVAE:
        """A small one on binary images."""
        return cls(mlp_vae(event_shape, latent_dim), version)

    @classmethod
    def paper(cls, version: Literal["I", "II"] = "II") -> DIPVAE:
        """The model of binary 64×64 shapes, whose networks are those of β-VAE (section 4)."""
        return cls(BetaVAE.paper().vae, version)

    def loss(self, x: Tensor, *, generator: Generator | None = None, noise: Tensor | None = None) -> Tensor:
        """−mean L(x) + λ_od off_diagonal + λ_d diagonal over a batch x of shape (N, *event), N ≥ 2; shape ()."""
        q = self.vae.posterior(x)
        if not isinstance(q, GaussianPosterior):
            raise ValueError(f"DIP-VAE needs a Gaussian posterior, got {type(q).__name__}")
        penalty = dip_penalty(q, self.version)
        bound = self.vae.elbo(x, generator=generator, noise=noise).value.mean()
        return -bound + self.lambda_od * penalty.off_diagonal + self.lambda_d * penalty.diagonal

    def elbo(self, x: Tensor, *, generator: Generator | None = None) -> Elbo:
        """The bound without penalty, with its parts."""
        return self.vae.elbo(x, generator=generator)

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n draws of p(x), shape (n, *event_shape)."""
        return self.vae.sample(n, generator=generator)
