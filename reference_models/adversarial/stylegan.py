"""StyleGAN: a generator that is told a style at every layer, and a training that keeps the layers' styles apart.

The generator is that of `style_generator`: z becomes w = f(z), and w sets mean and scale of every feature map. Style
mixing (section 3.1): for a share of images, layers from a random one on take the style of a second z, so that
neighbouring layers cannot rely on each other. Truncation (appendix B) moves styles towards their mean,

    w' = w_bar + psi (w - w_bar),   psi = 1 all variety, psi = 0 the average image,

in all layers or, as in the paper's figures, in the coarse ones alone. The critic is ProgressiveGAN's, smoothed with the
filter (1, 2, 1) before it halves; both grow from 8×8 on; the game is non-saturating with R1 = gamma/2 E_data |∇D|²,
gamma = 10 (appendix C).

A Style-Based Generator Architecture for Generative Adversarial Networks (Karras, Laine, Aila, 2019),
https://arxiv.org/abs/1812.04948; R1: Which Training Methods for GANs do actually Converge? (Mescheder, Geiger, Nowozin,
2018), eq. 9, https://arxiv.org/abs/1801.04406
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self, Unpack

import torch
from torch import Generator, Tensor, nn

from reference_models.adversarial.gan import Game, NonSaturating
from reference_models.adversarial.growing_gan import GrowingGAN, no_labels
from reference_models.adversarial.progressive_gan import ProgressiveDiscriminator
from reference_models.adversarial.style_generator import MAPPING_LAYERS, StyleGenerator
from reference_models.parts.distributions import standard_normal
from reference_models.parts.growing import PAPER_WIDTHS, Widths, blur
from reference_models.parts.training import evaluating
from reference_models.parts.truncation import truncate_towards
from reference_models.parts.validate import at_least, has_event_shape

MIXING = 0.9  # table 2, the row of the final model
R1_GAMMA = 10.0  # appendix C
IMAGES_PER_PHASE = 600_000  # NOTE: the paper gives no number, this is the authors' code


def truncate(w: Tensor, mean: Tensor, psi: float, cutoff: int | None = None) -> Tensor:
    """mean + psi (w - mean) in layers before `cutoff`, all of them if None: (N, layers, style_dim), shaped the same."""
    moved = truncate_towards(w, mean, psi)
    return moved if cutoff is None else torch.cat([moved[:, :cutoff], w[:, cutoff:]], dim=1)


def mix(w_1: Tensor, w_2: Tensor, crossover: Tensor) -> Tensor:
    """Image n has w_1[n] in layers before crossover[n] and w_2[n] from there on: (N, layers, style_dim)."""
    layer = torch.arange(w_1.shape[1], device=w_1.device)
    return torch.where((layer < crossover[:, None]).unsqueeze(-1), w_1, w_2)


class StyleGAN(GrowingGAN):
    """Style-based networks that grow.

    mixing: share of training images with two styles.
    gamma: weight of R1, at least 0.
    Other arguments as those of `GrowingGAN`.

    Raises:
        ValueError: a side below 8, mixing outside [0, 1], a negative gamma.
    """

    generator: StyleGenerator
    default_objective = NonSaturating
    first_level = 1  # appendix C: training starts at 8×8

    def __init__(
        self,
        generator: StyleGenerator,
        discriminator: nn.Module,
        *,
        images_per_phase: int = IMAGES_PER_PHASE,
        mixing: float = MIXING,
        gamma: float = R1_GAMMA,
        **game: Unpack[Game],
    ) -> None:
        super().__init__(generator, discriminator, images_per_phase=images_per_phase, **game)
        if not 0 <= mixing <= 1:
            raise ValueError(f"mixing is a share of images, got {mixing}")
        at_least("gamma", gamma, 0)
        self.mixing, self.gamma = mixing, gamma

    @classmethod
    def images(
        cls,
        image_shape: Sequence[int] = (1, 8, 8),
        latent_dim: int = 16,
        widths: Widths = Widths(64, 32),  # noqa: B008 - frozen
        images_per_phase: int = IMAGES_PER_PHASE,
        *,
        style_dim: int = 16,
        mapping_layers: int = 4,
        mixing: float = MIXING,
        gamma: float = R1_GAMMA,
    ) -> Self:
        """Networks of any size; `widths` gives the channels of each level."""
        channels, side, _ = image_shape
        return cls(
            StyleGenerator(side, latent_dim, style_dim, widths, channels, mapping_layers),
            ProgressiveDiscriminator(side, widths, channels, smooth=blur),
            latent_dim=latent_dim,
            event_shape=image_shape,
            images_per_phase=images_per_phase,
            mixing=mixing,
            gamma=gamma,
        )

    @classmethod
    def paper(cls) -> Self:
        """The 1024×1024 networks; the generator has 26.2 million parameters (figure 1)."""
        return cls.images((3, 1024, 1024), 512, PAPER_WIDTHS, style_dim=512, mapping_layers=MAPPING_LAYERS)

    @property
    def layers(self) -> int:
        """Layers that take a style at the present stage."""
        return 2 * (self.stage.level + 1)

    def styles(self, z: Tensor) -> Tensor:
        """w = f(z) for each layer: (N, latent_dim) to (N, layers, style_dim)."""
        has_event_shape("z", z, (self.latent_dim,))
        w: Tensor = self.generator.mapping(z)
        return w.unsqueeze(1).expand(-1, self.layers, -1)

    def noises(self, n: int, *, generator: Generator | None = None) -> list[Tensor]:
        """A noise image for each example and layer, (n, 1, side, side)."""
        like = next(self.parameters())
        sides = [4 << (layer // 2) for layer in range(self.layers)]
        return [standard_normal((n, 1, side, side), like, generator) for side in sides]

    def synthesise(self, w: Tensor, noises: list[Tensor]) -> Tensor:
        """g(w): (N, layers, style_dim) to (N, C, side, side)."""
        return self.generator.synthesis(w, self.stage, noises)

    def forward(self, z: Tensor, *, condition: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """An image for each z; in training with mixed styles, and w_bar follows."""
        no_labels(condition)
        w = self.styles(z)
        if self.training:
            self.generator.track(w[:, 0])
            w = self._mixed(w, generator)
        return self.synthesise(w, self.noises(len(z), generator=generator))

    def sample(
        self,
        n: int,
        *,
        condition: Tensor | None = None,
        generator: Generator | None = None,
        psi: float = 1.0,
        cutoff: int | None = None,
    ) -> Tensor:
        """n draws, truncated by psi in the layers before `cutoff` (the paper's figures: psi 0.7, cutoff 8)."""
        no_labels(condition)
        with evaluating(self):
            w = self.styles(self.noise(n, generator=generator))
            w = truncate(w, self.generator.mean_style, psi, cutoff)
            return self.synthesise(w, self.noises(n, generator=generator))

    def critic_pays(
        self, real: Tensor, fake: Tensor, real_score: Tensor, *, generator: Generator | None = None
    ) -> Tensor:
        """R1, gamma/2 times the mean squared slope on data."""
        return 0.5 * self.gamma * r1_penalty(self.score, real)

    def _mixed(self, w: Tensor, generator: Generator | None) -> Tensor:
        second = self.styles(self.noise(len(w), generator=generator))
        u = torch.rand((2, len(w)), generator=generator, device=w.device)
        crossover = 1 + (u[0] * (self.layers - 1)).long()  # 1..layers - 1: both styles are used
        return mix(w, second, torch.where(u[1] < self.mixing, crossover, self.layers))


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """E |∇D(x)|² over data of shape (N, *event), D's output being (N,); a scalar that can be differentiated."""
    x = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return slope.square().flatten(1).sum(dim=1).mean()
