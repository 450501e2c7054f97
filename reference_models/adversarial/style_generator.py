"""The generator of StyleGAN: noise becomes a style, and the style sets mean and scale of every feature map.

    w = f(z), eight layers                                                           mapping network
    AdaIN(x_i, y) = y_{s,i} (x_i - mu(x_i)) / σ(x_i) + y_{b,i}                       (eq. 1), over positions of map i
    y = (y_s, y_b) = A w, an affine map for each layer                               "A" of figure 1
    x <- x + B * noise, one noise image for all maps, a learned strength for each    "B" of figure 1

The synthesis network starts from a learned constant; each level holds two of: convolution, noise, bias, leaky
rectifier, AdaIN. The first convolution of a level reads the doubled maps of the one before, and the filter (1, 2, 1)
smooths what it makes; the very first of all is missing, the constant stands in its place.

A Style-Based Generator Architecture for Generative Adversarial Networks (Karras, Laine, Aila, 2019), section 2 and
appendix C, https://arxiv.org/abs/1812.04948
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.parts.equalised import GAIN, SLOPE, EqualisedConv2d, EqualisedLinear, pixel_norm
from reference_models.parts.growing import PAPER_WIDTHS, Stage, Widths, blend_rgb, blur, levels_of
from reference_models.parts.residual_gan import double
from reference_models.parts.validate import at_least

MAPPING_LAYERS = 8  # section 2
MAPPING_LR = 0.01  # appendix C: the mapping learns a hundred times slower
AVERAGE_DECAY = 0.995  # NOTE: for w_bar; the paper gives no number, this is the authors' code


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
