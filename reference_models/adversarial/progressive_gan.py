"""Progressive growing: train at 4×4, then add layers for 8×8, 16×16, ..., each faded in.

At every level l the generator ends in a 1×1 convolution to pixels, the critic begins with one from pixels. While a
level is new, alpha rises from 0 to 1 (figure 2):

    x = (1 - alpha) double(to_rgb_{l-1}(h_{l-1})) + alpha to_rgb_l(h_l)                              generator
    h = (1 - alpha) from_rgb_{l-1}(halve(x)) + alpha block_l(from_rgb_l(x))                          critic

and data at that resolution are blended with their own halved-and-doubled version. Level l works at side 4 * 2^l; the
stage of training is a level and the alpha of its newest layers. Around it stand

    equalised learning rate   w = w_hat * sqrt(2 / fan_in), w_hat ~ N(0, 1), scaled at each call     (section 4.1)
    pixel normalisation       b = a / sqrt(mean_c a_c² + 1e-8) at each pixel of the generator        (section 4.2)
    minibatch deviation       one more channel for the critic: the standard deviation over the batch of every feature at
                              every position, averaged to one number                                 (section 3)

The game is that of WGAN-GP plus 0.001 E f(data)², which keeps the critic's scores from drifting (appendix A.1).

NOTE: layers that end a network (to_rgb, the critic's score) are scaled with sqrt(1 / fan_in), the first layer of the
generator with sqrt(2 / fan_in) / 4, as in the authors' code. Its minibatch deviation runs over groups of 4; ours, like
the paper's text, over the batch. Through it an example also moves the scores of the others: the slope that is penalised
is that of all scores together, in the authors' code too.

Progressive Growing of GANs for Improved Quality, Stability, and Variation (Karras et al., 2018),
https://arxiv.org/abs/1710.10196
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ClassVar, Self, Unpack

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.adversarial.gan import GAN, Game, Objective
from reference_models.adversarial.wgan import Wasserstein
from reference_models.adversarial.wgan_gp import PENALTY, gradient_penalty
from reference_models.parts.equalised import (
    PAPER_WIDTHS,
    SLOPE,
    EqualisedConv2d,
    EqualisedConv4x4,
    EqualisedLinear,
    Stage,
    Widths,
    halve,
    levels_of,
    minibatch_deviation,
    pixel_norm,
    real_at,
)
from reference_models.parts.require import at_least, has_event_shape, has_shape
from reference_models.parts.residual_gan import double

DRIFT = 1e-3  # appendix A.1, epsilon_drift
IMAGES_PER_PHASE = 800_000  # appendix A.1: while fading, and again while stable


# --- levels, stages, and what data look like meanwhile


def stage_after(images: int, images_per_phase: int, levels: int, first: int = 0) -> Stage:
    """The stage when the critic has seen `images` real images.

    The first level is trained for one phase; each further level fades in during one phase and is stable for another,
    the last for ever.
    """
    at_least("images_per_phase", images_per_phase, 1)
    phase, inside = divmod(images, images_per_phase)
    level = first + (phase + 1) // 2
    if level >= levels:
        return Stage(levels - 1, 1.0)
    return Stage(level, inside / images_per_phase if phase % 2 else 1.0)


def blend_rgb(to_rgb: nn.ModuleList, before: Tensor, h: Tensor, stage: Stage) -> Tensor:
    """The image of a stage from the features of the last two levels."""
    x: Tensor = to_rgb[stage.level](h)
    if stage.level == 0 or stage.alpha == 1:
        return x
    return torch.lerp(double(to_rgb[stage.level - 1](before)), x, stage.alpha)


# --- the networks


class ProgressiveGenerator(nn.Module):
    """Table 2: normalised noise to images of side 4 * 2^level, for every level up to that of `resolution`."""

    def __init__(
        self, resolution: int = 1024, latent_dim: int = 512, widths: Widths = PAPER_WIDTHS, image_channels: int = 3
    ) -> None:
        super().__init__()
        self.levels = levels_of(resolution)
        sizes = [widths(level) for level in range(self.levels)]
        self.first = EqualisedConv4x4(latent_dim, sizes[0])
        self.enter = nn.ModuleList(EqualisedConv2d(before, size) for before, size in pairwise(sizes))
        self.stay = nn.ModuleList(EqualisedConv2d(size, size) for size in sizes)
        self.to_rgb = nn.ModuleList(EqualisedConv2d(size, image_channels, 1, gain=1) for size in sizes)

    def forward(self, z: Tensor, stage: Stage) -> Tensor:
        """(N, latent_dim) to (N, C, 4 * 2^level, 4 * 2^level)."""
        h = _activate(self.first(pixel_norm(z)))
        before = h
        for level in range(stage.level + 1):
            before = h
            if level:
                h = _activate(self.enter[level - 1](double(h)))
            h = _activate(self.stay[level](h))
        return blend_rgb(self.to_rgb, before, h, stage)


class ProgressiveDiscriminator(nn.Module):
    """Table 2 mirrored, with the minibatch deviation before the last convolution; `smooth` filters what is halved."""

    def __init__(
        self,
        resolution: int = 1024,
        widths: Widths = PAPER_WIDTHS,
        image_channels: int = 3,
        smooth: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.levels, self.smooth = levels_of(resolution), smooth
        sizes = [widths(level) for level in range(self.levels)]
        self.from_rgb = nn.ModuleList(EqualisedConv2d(image_channels, size, 1) for size in sizes)
        self.stay = nn.ModuleList(EqualisedConv2d(size, size) for size in sizes[1:])
        self.leave = nn.ModuleList(EqualisedConv2d(size, after) for after, size in pairwise(sizes))
        self.last_conv = EqualisedConv2d(sizes[0] + 1, sizes[0])
        self.hidden = EqualisedLinear(sizes[0] * 16, sizes[0])
        self.score = EqualisedLinear(sizes[0], 1, gain=1)

    def forward(self, x: Tensor, stage: Stage) -> Tensor:
        """(N, C, 4 * 2^level, 4 * 2^level) to (N,)."""
        h = F.leaky_relu(self.from_rgb[stage.level](x), SLOPE)
        for level in range(stage.level, 0, -1):
            h = F.leaky_relu(self.stay[level - 1](h), SLOPE)
            h = h if self.smooth is None else self.smooth(h)
            h = halve(F.leaky_relu(self.leave[level - 1](h), SLOPE))
            if level == stage.level and stage.alpha < 1:
                old = F.leaky_relu(self.from_rgb[level - 1](halve(x)), SLOPE)
                h = torch.lerp(old, h, stage.alpha)
        h = F.leaky_relu(self.last_conv(minibatch_deviation(h)), SLOPE)
        h = F.leaky_relu(self.hidden(h.flatten(1)), SLOPE)
        score: Tensor = self.score(h)
        return score.squeeze(-1)


def _activate(h: Tensor) -> Tensor:
    return pixel_norm(F.leaky_relu(h, SLOPE))


# --- the game


class GrowingGAN(GAN, ABC):
    """A GAN whose networks are called as (z, stage) and (x, stage), without labels.

    event_shape: (C, R, R), the full size.
    images_per_phase: real images after which a phase ends, fading in or stable.
    Other arguments as those of `GAN`.

    Raises:
        ValueError: images that are not square, whose side is no power of two or below that of the first level.
    """

    images_seen: Tensor
    first_level: int = 0  # where training starts, at side 4 * 2^first_level

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        images_per_phase: int,
        **game: Unpack[Game],
    ) -> None:
        super().__init__(generator, discriminator, **game)
        _, height, width = self.event_shape
        if height != width:
            raise ValueError(f"images must be square, got {height} x {width}")
        at_least("images_per_phase", images_per_phase, 1)
        self.levels, self.images_per_phase = levels_of(height), images_per_phase
        at_least("the side of an image", height, 4 << self.first_level)
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.long))

    @property
    def stage(self) -> Stage:
        """The present level and alpha."""
        return stage_after(int(self.images_seen), self.images_per_phase, self.levels, self.first_level)

    def forward(self, z: Tensor, *, condition: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """G(z) at the present stage: (N, latent_dim) to (N, C, side, side)."""
        has_event_shape("z", z, (self.latent_dim,))
        no_labels(condition)
        return self.generator(z, self.stage)

    def score(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """D(x) of images of the present size, shape (N,).

        Raises:
            ValueError: images of another size, or labels.
        """
        no_labels(condition)
        side = 4 << self.stage.level
        has_shape("x", x, ("N", self.event_shape[0], side, side))
        return self.discriminator(x, self.stage)

    def discriminator_loss(
        self, x: Tensor, *, condition: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """The objective's loss plus what the critic pays, on full-size data (N, *event_shape) and as many samples."""
        no_labels(condition)
        has_event_shape("x", x, self.event_shape)
        real = real_at(x, self.stage, self.levels)
        with torch.no_grad():
            fake = self(self.noise(len(x), generator=generator), generator=generator)
        real_score, fake_score = self.score(real), self.score(fake)
        loss = self.objective.discriminator_loss(real_score, fake_score)
        return loss + self.critic_pays(real, fake, real_score, generator=generator)

    @abstractmethod
    def critic_pays(
        self, real: Tensor, fake: Tensor, real_score: Tensor, *, generator: Generator | None = None
    ) -> Tensor:
        """What keeps the critic smooth, a scalar; real, fake: at the present size; real_score: D(real)."""

    @torch.no_grad()
    def after_discriminator_step(self, batch_size: int) -> None:
        """Counts the real images seen, on which the stage depends."""
        self.images_seen += batch_size


def no_labels(condition: Tensor | None) -> None:
    """Raises ValueError if there is a condition."""
    if condition is not None:
        raise ValueError(f"growing networks know no labels, got a condition of shape {tuple(condition.shape)}")


class ProgressiveGAN(GrowingGAN):
    """Growing networks under the game of WGAN-GP.

    penalty, drift: weights of the gradient penalty and of the drift term, at least 0.
    Other arguments as those of `GrowingGAN`.

    Raises:
        ValueError: a negative weight.
    """

    default_objective: ClassVar[type[Objective]] = Wasserstein

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        images_per_phase: int = IMAGES_PER_PHASE,
        penalty: float = PENALTY,
        drift: float = DRIFT,
        **game: Unpack[Game],
    ) -> None:
        super().__init__(generator, discriminator, images_per_phase=images_per_phase, **game)
        at_least("penalty", penalty, 0)
        at_least("drift", drift, 0)
        self.penalty, self.drift = penalty, drift

    @classmethod
    def images(
        cls,
        image_shape: Sequence[int] = (1, 8, 8),
        latent_dim: int = 16,
        widths: Widths = Widths(64, 32),  # noqa: B008 - frozen
        images_per_phase: int = IMAGES_PER_PHASE,
    ) -> Self:
        """Networks of any size; `widths` gives the channels of each level."""
        channels, side, _ = image_shape
        return cls(
            ProgressiveGenerator(side, latent_dim, widths, channels),
            ProgressiveDiscriminator(side, widths, channels),
            latent_dim=latent_dim,
            event_shape=image_shape,
            images_per_phase=images_per_phase,
        )

    @classmethod
    def paper(cls) -> Self:
        """The networks of table 2, 1024×1024, 23.1 million parameters each."""
        return cls.images((3, 1024, 1024), 512, PAPER_WIDTHS)

    def critic_pays(
        self, real: Tensor, fake: Tensor, real_score: Tensor, *, generator: Generator | None = None
    ) -> Tensor:
        """The gradient penalty of WGAN-GP and the drift term, each by its weight."""
        penalty = gradient_penalty(self.score, real, fake, generator=generator)
        return self.penalty * penalty + self.drift * real_score.square().mean()
