"""Generative adversarial networks: two networks play a game whose equilibrium is the data distribution.

A discriminator D tells data from samples, a generator G turns noise into samples that D takes for data:

    V(D, G) = E_{x ~ p_data} log D(x) + E_{z ~ p_z} log(1 - D(G(z)))            (eq. 1), max over D, min over G
    D*(x)   = p_data(x) / (p_data(x) + p_g(x))                                  (eq. 2)
    max_D V = 2 JSD(p_data ‖ p_g) - log 4                                       (eq. 6)

Discriminators here return the logit T, D = sigmoid(T), so that log D = -softplus(-T) and log(1 - D) = -softplus(T)
are finite for any finite T; the optimal logit is log p_data/p_g. While D wins, log(1 - D(G(z))) is flat in T and G
stands still; section 3 therefore lets G maximise log D(G(z)) instead: same fixed point, other gradient
("non-saturating", what everybody trains).

Every loss below is written as something to minimise, a mean over the batch.

Generative Adversarial Networks (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Required, TypedDict, TypeVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.parts.distributions import standard_normal
from reference_models.parts.networks import MLP
from reference_models.parts.require import at_least, has_event_shape, one_of
from reference_models.parts.shapes import flatten_batch, restore_batch
from reference_models.parts.training import evaluating, freeze

Kind = TypeVar("Kind", bound="GAN")
Prior = Literal["normal", "uniform", "unit"]


class Objective(Protocol):
    """The game: what each player minimises, means over the discriminator's outputs `real` and `fake`, of any shape."""

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss, a scalar."""
        ...

    def generator_loss(self, fake: Tensor) -> Tensor:
        """The generator's loss, a scalar."""
        ...


def value(real: Tensor, fake: Tensor) -> Tensor:
    """V(D, G) of eq. 1 in nats, a scalar, from the logits of data and of samples."""
    return -(F.softplus(-real).mean() + F.softplus(fake).mean())


def optimal_logit(log_p_data: Tensor, log_p_g: Tensor) -> Tensor:
    """The logit of D* (eq. 2), the log-ratio of the densities, shaped as they are."""
    return log_p_data - log_p_g


@dataclass(frozen=True)
class Minimax:
    """The game of eq. 1: the discriminator minimises -V, the generator V."""

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """-V(D, G) in nats, the cross-entropy of telling data from samples (the sum of two means)."""
        return -value(real, fake)

    def generator_loss(self, fake: Tensor) -> Tensor:
        """E log(1 - D(G(z))): saturates, its derivative in T being -D."""
        return -F.softplus(fake).mean()


@dataclass(frozen=True)
class NonSaturating(Minimax):
    """The discriminator as in `Minimax`; the generator minimises -E log D(G(z)), derivative D - 1 (section 3)."""

    def generator_loss(self, fake: Tensor) -> Tensor:
        """-E log D(G(z))."""
        return F.softplus(-fake).mean()


def draw_noise(n: int, dim: int, prior: Prior, like: nn.Module, generator: Generator | None = None) -> Tensor:
    """Noise (n, dim), typed as the module's parameters: standard normal, uniform on [-1, 1] or on [0, 1] ("unit")."""
    if prior == "normal":
        return standard_normal((n, dim), like, generator)
    reference = next(like.parameters())
    u = torch.rand((n, dim), generator=generator, device=reference.device, dtype=reference.dtype)
    return u if prior == "unit" else 2 * u - 1


class Game(TypedDict, total=False):
    """What every family's constructor passes on to `GAN`."""

    latent_dim: Required[int]
    event_shape: Required[Sequence[int]]
    objective: Objective | None
    prior: Prior


class GAN(nn.Module):
    """A generator, a discriminator and the game they play.

    generator: network, (N, latent_dim) to (N, *event_shape); with a condition, called as generator(z, condition).
    discriminator: network, (N, *event_shape) to (N,); with a condition, called as discriminator(x, condition).
    latent_dim: size of z, at least 1.
    event_shape: shape of one example.
    objective: what the two minimise; the family's own, here `NonSaturating()`, unless given.
    prior: law of z.

    Raises:
        ValueError: latent_dim is below 1, the prior is unknown.
    """

    default_objective: ClassVar[type[Objective]] = NonSaturating

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        latent_dim: int,
        event_shape: Sequence[int],
        objective: Objective | None = None,
        prior: Prior = "normal",
    ) -> None:
        super().__init__()
        at_least("latent_dim", latent_dim, 1)
        one_of("prior", prior, ("normal", "uniform", "unit"))
        self.generator, self.discriminator = generator, discriminator
        self.latent_dim, self.event_shape, self.prior = latent_dim, tuple(event_shape), prior
        self.objective: Objective = objective if objective is not None else self.default_objective()

    def noise(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """z ~ p_z, shape (n, latent_dim)."""
        at_least("n", n, 1)
        return draw_noise(n, self.latent_dim, self.prior, self, generator)

    def forward(self, z: Tensor, *, condition: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """G(z): (N, latent_dim) to (N, *event_shape); `generator` serves networks that draw noise inside."""
        has_event_shape("z", z, (self.latent_dim,))
        return self.generator(z) if condition is None else self.generator(z, condition)

    def score(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """The discriminator's output, a logit or whatever the objective reads: (*B, *event_shape) to (*B,)."""
        has_event_shape("x", x, self.event_shape)
        flat, batch_shape = flatten_batch(x, len(self.event_shape))
        out: Tensor = self.discriminator(flat) if condition is None else self.discriminator(flat, condition)
        return restore_batch(out, batch_shape)

    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """n draws, shape (n, *event_shape), without gradients and with batch statistics frozen."""
        with evaluating(self):
            x: Tensor = self(self.noise(n, generator=generator), condition=condition, generator=generator)
        return x

    def discriminator_loss(
        self, x: Tensor, *, condition: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """The discriminator's loss on data (N, *event_shape) and as many samples, which carry no gradient to G."""
        with torch.no_grad():
            fake = self(self.noise(len(x), generator=generator), condition=condition, generator=generator)
        real_score, fake_score = self.score(x, condition=condition), self.score(fake, condition=condition)
        return self.objective.discriminator_loss(real_score, fake_score)

    def generator_loss(self, n: int, *, condition: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """The generator's loss on n samples; the discriminator's parameters get no gradient."""
        fake = self(self.noise(n, generator=generator), condition=condition, generator=generator)
        with freeze(self.discriminator):
            return self.objective.generator_loss(self.score(fake, condition=condition))

    @torch.no_grad()
    def after_discriminator_step(self, batch_size: int) -> None:
        """What must happen once the discriminator's optimiser has stepped; nothing, unless a family says so."""


def mlp_gan(
    family: type[Kind], dim: int = 2, latent_dim: int = 2, hidden: Sequence[int] = (64, 64), **options: Any
) -> Kind:
    """Both players are perceptrons on vectors of `dim` numbers.

    family: `GAN`, or a class that is constructed as it is; options: those of its constructor.
    """
    generator = MLP(latent_dim, hidden, dim, activation=nn.ReLU)
    discriminator = nn.Sequential(MLP(dim, hidden, 1, activation=nn.LeakyReLU), nn.Flatten(0))
    return family(generator, discriminator, latent_dim=latent_dim, event_shape=(dim,), **options)


def paper_gan() -> GAN:
    """The networks for MNIST, images as vectors of 784 numbers in [0, 1]: rectifiers against maxout (section 5).

    NOTE: the paper states neither sizes nor the law of z; these are those of the authors' published configuration,
    without its dropout.
    """
    generator = nn.Sequential(MLP(100, (1200, 1200), 784, activation=nn.ReLU), nn.Sigmoid())
    discriminator = nn.Sequential(Maxout(784, 240, 5), Maxout(240, 240, 5), nn.Linear(240, 1), nn.Flatten(0))
    return GAN(generator, discriminator, latent_dim=100, event_shape=(784,))


class Maxout(nn.Module):
    """max over k of W_k x + b_k: (*B, in_features) to (*B, out_features).

    Maxout Networks (Goodfellow et al., 2013), section 3, https://arxiv.org/abs/1302.4389
    """

    def __init__(self, in_features: int, out_features: int, pieces: int) -> None:
        super().__init__()
        at_least("pieces", pieces, 1)
        self.out_features, self.pieces = out_features, pieces
        self.linear = nn.Linear(in_features, out_features * pieces)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.linear(x)
        pieces: Tensor = h.unflatten(-1, (self.out_features, self.pieces))  # (*B, out_features, pieces)
        return pieces.amax(dim=-1)
