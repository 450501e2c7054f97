"""Constrained GAN: samples must not only look like data but obey what is known of it.

Simulations are judged by statistics and laws, which a discriminator enforces late or never. A penalty puts them into
the generator's loss, the game otherwise unchanged:

    min_G max_D  V(D, G) + λ d(G)

    statistical    d = ‖ Σ(p_data) - Σ(p_g) ‖_F, the covariances over a batch                            (Wu et al.)
    deterministic  d = E_z ‖ h(G(z)) ‖², h(x) = 0 being a law such as a conservation                     (Zeng et al.)

The data obey the constraint, so the penalty is zero at the old equilibrium and moves nothing but the way there.

Among the papers on constraints we follow the best known of those written for science: Enforcing Statistical Constraints
in Generative Adversarial Networks for Modeling Chaotic Dynamical Systems (Wu et al., 2020),
https://arxiv.org/abs/1905.06841; its sister for laws is Enforcing Imprecise Constraints on Generative Adversarial
Networks for Emulating Physical Systems (Zeng, Wu, Xiao, 2021), https://arxiv.org/abs/1911.06671

NOTE: Σ(p_data) is computed once from all training data, Σ(p_g) anew from each batch. With few samples its noise
keeps d above zero, about sqrt(((tr Σ)² + tr(Σ²)) / n) for n Gaussian samples: batches should be large.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self, Unpack

import torch
from torch import Generator, Tensor, nn

from reference_models.adversarial.gan import GAN, Game
from reference_models.parts.require import at_least
from reference_models.parts.training import freeze


def covariance(x: Tensor) -> Tensor:
    """The covariance of examples (N, *event), events as vectors, divided by N - 1: shape (D, D)."""
    flat = x.flatten(1)
    centred = flat - flat.mean(dim=0)
    return centred.mT @ centred / (len(flat) - 1)


class Constraint(Protocol):
    """How far samples are from obeying."""

    def penalty(self, samples: Tensor) -> Tensor:
        """A scalar, at least 0, differentiable in samples of shape (N, *event)."""
        ...


class CovarianceConstraint(nn.Module):
    """Samples must have this covariance: the statistical constraint.

    target: Σ(p_data), shape (D, D), symmetric.

    Raises:
        ValueError: the target is no square symmetric matrix.
    """

    target: Tensor

    def __init__(self, target: Tensor) -> None:
        super().__init__()
        if target.ndim != 2 or target.shape[0] != target.shape[1]:
            raise ValueError(f"a covariance must have shape (D, D), got {tuple(target.shape)}")
        asymmetry = float((target - target.mT).abs().max())
        if not asymmetry <= 1e-4 * float(target.abs().max()):
            raise ValueError(f"a covariance must be symmetric, got entries that differ by {asymmetry:.3g}")
        self.register_buffer("target", target)

    @classmethod
    def of(cls, data: Tensor) -> Self:
        """The constraint that data of shape (N, *event) set, N at least 2."""
        at_least("the number of examples", len(data), 2)
        return cls(covariance(data))

    def penalty(self, samples: Tensor) -> Tensor:
        """The Frobenius norm of the difference of covariances, in squared units of x.

        Raises:
            ValueError: fewer than 2 samples, samples of another size than the data.
        """
        at_least("the number of samples", len(samples), 2)
        if samples[0].numel() != len(self.target):
            raise ValueError(f"samples must have {len(self.target)} numbers each, got {samples[0].numel()}")
        return torch.linalg.matrix_norm(covariance(samples) - self.target, ord="fro")


class ResidualConstraint(nn.Module):
    """Every sample must obey h(x) = 0: the deterministic constraint.

    residual: h, from (N, *event) to (N, *R).
    """

    def __init__(self, residual: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.residual = residual

    def penalty(self, samples: Tensor) -> Tensor:
        """The mean over samples of |h(x)|², summed over the components of h."""
        return self.residual(samples).flatten(1).square().sum(dim=1).mean()


class ConstrainedGAN(GAN):
    """A GAN whose generator pays for breaking a constraint.

    constraint: what samples must obey.
    weight: λ, at least 0; 0 is the plain GAN.
    Other arguments as those of `GAN`.

    Raises:
        ValueError: the weight is negative.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        constraint: Constraint | None = None,
        weight: float = 1.0,
        **game: Unpack[Game],
    ) -> None:
        super().__init__(generator, discriminator, **game)
        at_least("weight", weight, 0)
        self.constraint, self.weight = constraint, weight

    def generator_loss(self, n: int, *, condition: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """The game's loss plus weight times the penalty, both on the same n samples."""
        fake = self(self.noise(n, generator=generator), condition=condition, generator=generator)
        with freeze(self.discriminator):
            loss = self.objective.generator_loss(self.score(fake, condition=condition))
        return loss if self.constraint is None else loss + self.weight * self.constraint.penalty(fake)
