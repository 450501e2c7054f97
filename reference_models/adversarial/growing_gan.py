"""Two players that grow together, whatever game they play: what `progressive_gan` and `stylegan` share.

How far they have grown, a level and the weight alpha of its newest layers, follows from the number of real images the
critic has seen. Data enter at full size and are brought to the present one; samples have the present size. A family
brings its networks and says what the critic pays beside its objective.

Progressive Growing of GANs for Improved Quality, Stability, and Variation (Karras et al., 2018), figure 2 and appendix
A.1, https://arxiv.org/abs/1710.10196
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Unpack

import torch
from torch import Generator, Tensor, nn

from reference_models.adversarial.gan import GAN, Game
from reference_models.parts.growing import Stage, levels_of, real_at, stage_after
from reference_models.parts.validate import at_least, has_event_shape


class GrowingGAN(GAN, ABC):
    """A GAN whose networks are called as (z, stage) and (x, stage), without labels.

    event_shape: (C, R, R), the full size.
    images_per_phase: real images after which a phase ends, fading in or stable.
    Other arguments as those of `GAN`.

    Raises:
        ValueError: images that are not square, whose side is no power of two or below that of the first level.
    """

    images_seen: Tensor
    first_level: ClassVar[int] = 0  # where training starts, at side 4 * 2^first_level

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
        if x.ndim != 4 or x.shape[1:] != (self.event_shape[0], side, side):
            raise ValueError(f"the stage takes (N, {self.event_shape[0]}, {side}, {side}), got {tuple(x.shape)}")
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
