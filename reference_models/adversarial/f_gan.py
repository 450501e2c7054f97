"""f-GAN: a discriminator estimates, and a generator minimises, any f-divergence.

The bound of `foundations.f_divergences` becomes a game (section 2.3). P is the data, Q the generator, V the plain
output of the discriminator and g_f the activation that keeps T = g_f(V) inside the domain of the conjugate f*:

    F = E_P g_f(V(x)) - E_Q f*(g_f(V(x)))  ≤  D_f(P ‖ Q)

The discriminator climbs F, the generator descends it, through its second term alone. Section 3.2 replaces the
generator's step by climbing E_Q g_f(V), which does not saturate; `saturating=False` does so.

f* of g_f is written out in one formula for each divergence: at the edge of the domain, where g_f rounds, f* would not
be finite. All activations increase, and g_f(V) > f'(1) says that x is likelier as data than as a sample: V > 1 under
"kl", V > 0 under all others (`threshold`).

f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization (Nowozin, Cseke, Tomioka, 2016),
sections 2 and 3, table 2 and its like in the appendix, https://arxiv.org/abs/1606.00709
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.adversarial.gan import GAN
from reference_models.foundations.f_divergences import get
from reference_models.parts.networks import MLP

LOG_2 = math.log(2)
# f*(g_f(v)), the divergences being those of F_DIVERGENCES
CONJUGATE_OF_ACTIVATION: Mapping[str, Callable[[Tensor], Tensor]] = {
    "kl": lambda v: torch.exp(v - 1),
    "reverse-kl": lambda v: v - 1,
    "pearson": lambda v: 0.25 * v**2 + v,
    "neyman": lambda v: -2 * torch.expm1(-0.5 * v),
    "squared-hellinger": lambda v: torch.expm1(v),
    "js": lambda v: F.softplus(v) - LOG_2,
    "gan": lambda v: F.softplus(v),
    "tv": lambda v: 0.5 * torch.tanh(v),
}


@dataclass(frozen=True)
class Variational:
    """The game for one divergence; the scores it reads are V.

    divergence: a key of `F_DIVERGENCES`, D(data ‖ generator).
    saturating: whether the generator descends F, or climbs E_Q g_f(V).

    Raises:
        ValueError: the divergence is unknown.
    """

    divergence: str = "kl"
    saturating: bool = True

    def __post_init__(self) -> None:
        get(self.divergence)

    def activation(self, v: Tensor) -> Tensor:
        """T = g_f(v), elementwise."""
        return get(self.divergence).activation(v)

    def conjugate(self, v: Tensor) -> Tensor:
        """f*(g_f(v)), elementwise."""
        return CONJUGATE_OF_ACTIVATION[self.divergence](v)

    @property
    def threshold(self) -> float:
        """The output V where data and samples are equally likely: g_f(V) = f'(1), the last column of table 2."""
        return 1.0 if self.divergence == "kl" else 0.0

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """-F, means over the batch: minus a lower bound of the divergence (nats where that has them), a scalar."""
        return self.conjugate(fake).mean() - self.activation(real).mean()

    def generator_loss(self, fake: Tensor) -> Tensor:
        """The part of F that depends on the generator, -E f*(g_f(V)); not saturating, -E g_f(V). A scalar."""
        return -(self.conjugate(fake) if self.saturating else self.activation(fake)).mean()


class FGAN(GAN):
    """A GAN under an f-divergence, KL(data ‖ generator) unless told; arguments as those of `GAN`."""

    default_objective = Variational

    @classmethod
    def paper(cls) -> Self:
        """The networks for MNIST (section 4), images as vectors of 784 numbers in [0, 1]; z is uniform on [-1, 1].

        NOTE: the widths, 1200 in the generator and 240 in V, are those in use with this paper; they were not checked
        against its supplement.
        """
        generator: list[nn.Module] = []
        for width in (100, 1200):
            generator += [nn.Linear(width, 1200), nn.BatchNorm1d(1200), nn.ReLU()]
        generator += [nn.Linear(1200, 784), nn.Sigmoid()]
        v = nn.Sequential(MLP(784, (240, 240), 1, activation=nn.ELU), nn.Flatten(0))
        return cls(nn.Sequential(*generator), v, latent_dim=100, event_shape=(784,), prior="uniform")
