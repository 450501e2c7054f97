"""StyleGAN: a generator that is told a style at every layer, and a training that keeps the layers' styles apart.

    w = f(z), eight layers                                                           mapping network
    AdaIN(x_i, y) = y_{s,i} (x_i - mu(x_i)) / σ(x_i) + y_{b,i}                       (eq. 1), over positions of map i
    y = (y_s, y_b) = A w, an affine map for each layer                               "A" of figure 1
    x <- x + B * noise, one noise image for all maps, a learned strength for each    "B" of figure 1

The synthesis network starts from a learned constant; each level holds two of: convolution, noise, bias, leaky
rectifier, AdaIN. The first convolution of a level reads the doubled maps of the one before, and the filter (1, 2, 1)
smooths what it makes; the very first of all is missing, the constant stands in its place.

Style mixing (section 3.1): for a share of images, layers from a random one on take the style of a second z, so that
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
from itertools import pairwise
from typing import Self, Unpack

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.adversarial.gan import Game, NonSaturating
from reference_models.adversarial.progressive_gan import (
    GrowingGAN,
    ProgressiveDiscriminator,
    blend_rgb,
    no_labels,
)
from reference_models.parts.distributions import standard_normal
from reference_models.parts.equalised import (
    GAIN,
    PAPER_WIDTHS,
    SLOPE,
    EqualisedConv2d,
    EqualisedLinear,
    Stage,
    Widths,
    blur,
    levels_of,
    pixel_norm,
)
from reference_models.parts.require import at_least, has_event_shape, within
from reference_models.parts.residual_gan import double
from reference_models.parts.training import evaluating
from reference_models.parts.truncation import truncate_towards

MAPPING_LAYERS = 8  # section 2
MAPPING_LR = 0.01  # appendix C: the mapping learns a hundred times slower
AVERAGE_DECAY = 0.995  # NOTE: for w_bar; the paper gives no number, this is the authors' code
MIXING = 0.9  # table 2, the row of the final model
R1_GAMMA = 10.0  # appendix C
IMAGES_PER_PHASE = 600_000  # NOTE: the paper gives no number, this is the authors' code


# --- the generator


class MappingNetwork(nn.Module):
    """f: normalised z to w, (N, latent_dim) to (N, style_dim)."""

    def __init__(self, latent_dim: int = 512, style_dim: int = 512, layers: int = MAPPING_LAYERS) -> None:
        super().__init__()
        at_least("layers", layers, 1)
        sizes = [latent_dim] + [style_dim] * layers
        self.layers = nn.ModuleList(EqualisedLinear(i, o, GAIN, MAPPING_LR) for i, o in pairwise(sizes))

    def forward(self, z: Tensor) -> Tensor:
        w = pixel_norm(z)
        for layer in self.layers:
            w = F.leaky_relu(layer(w), SLOPE)
        return w


def adain(x: Tensor, y_s: Tensor, y_b: Tensor) -> Tensor:
    """Eq. 1: each map of (N, C, H, W) gets the mean y_b and the deviation |y_s| (divided by HW), both (N, C)."""
    mean = x.mean(dim=(2, 3), keepdim=True)
    deviation = torch.sqrt((x - mean).square().mean(dim=(2, 3), keepdim=True) + 1e-8)
    return y_s[:, :, None, None] * (x - mean) / deviation + y_b[:, :, None, None]


class Epilogue(nn.Module):
    """What follows a convolution: noise, bias, leaky rectifier, AdaIN."""

    def __init__(self, channels: int, style_dim: int) -> None:
        super().__init__()
        self.noise_strength = nn.Parameter(torch.zeros(channels))  # B
        self.bias = nn.Parameter(torch.zeros(channels))
        self.style = EqualisedLinear(style_dim, 2 * channels, gain=1)  # A
        with torch.no_grad():
            self.style.bias[:channels] = 1  # y starts as (1, 0)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """x: (N, C, H, W); w: (N, style_dim); noise: (N, 1, H, W)."""
        x = x + self.noise_strength[:, None, None] * noise + self.bias[:, None, None]
        y_s, y_b = self.style(w).chunk(2, dim=1)  # (N, C) each
        return adain(F.leaky_relu(x, SLOPE), y_s, y_b)


class SynthesisNetwork(nn.Module):
    """g: one style a layer to an image; layers 2l and 2l + 1 work at 4 * 2^l."""

    def __init__(
        self, resolution: int = 1024, style_dim: int = 512, widths: Widths = PAPER_WIDTHS, image_channels: int = 3
    ) -> None:
        super().__init__()
        self.levels = levels_of(resolution)
        sizes = [widths(level) for level in range(self.levels)]
        self.constant = nn.Parameter(torch.ones(1, sizes[0], 4, 4))
        channels = [size for size in sizes for _ in range(2)]  # of each layer; the first has no convolution
        self.convs = nn.ModuleList(EqualisedConv2d(i, o, bias=False) for i, o in pairwise(channels))
        self.epilogues = nn.ModuleList(Epilogue(size, style_dim) for size in channels)
        self.to_rgb = nn.ModuleList(EqualisedConv2d(size, image_channels, 1, gain=1) for size in sizes)

    def forward(self, w: Tensor, stage: Stage, noises: list[Tensor]) -> Tensor:
        """w: (N, layers, style_dim); noises: one (N, 1, side, side) for each layer in use."""
        h = before = self.constant.expand(len(w), -1, -1, -1)
        for layer in range(2 * (stage.level + 1)):
            if layer % 2 == 0:
                before = h
            if layer:
                up = layer % 2 == 0
                h = self.convs[layer - 1](double(h) if up else h)
                h = blur(h) if up else h
            h = self.epilogues[layer](h, w[:, layer], noises[layer])
        return blend_rgb(self.to_rgb, before, h, stage)


class StyleGenerator(nn.Module):
    """Mapping and synthesis, with the running mean of w."""

    mean_style: Tensor

    def __init__(
        self, resolution: int, latent_dim: int, style_dim: int, widths: Widths, channels: int, mapping_layers: int
    ) -> None:
        super().__init__()
        self.mapping = MappingNetwork(latent_dim, style_dim, mapping_layers)
        self.synthesis = SynthesisNetwork(resolution, style_dim, widths, channels)
        self.register_buffer("mean_style", torch.zeros(style_dim))

    @torch.no_grad()
    def track(self, w: Tensor) -> None:
        """Moves w_bar towards the mean of w, shape (N, style_dim)."""
        self.mean_style = torch.lerp(w.mean(dim=0), self.mean_style, AVERAGE_DECAY)


# --- styles


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
        within("mixing", mixing, 0, 1)
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
