"""Layers that growing networks share: equalised learning rates, pixel normalisation, deviation over the batch, levels.

    w = w_hat * gain / sqrt(fan_in),  w_hat ~ N(0, 1)
    b = a / sqrt(mean_c a_c² + 1e-8)                  at each pixel

Weights are scaled at each call, not once at the start: Adam, whose steps do not depend on the gradient's scale, then
moves all layers at the same relative speed.

Progressive Growing of GANs for Improved Quality, Stability, and Variation (Karras et al., 2018), sections 3, 4.1, 4.2,
https://arxiv.org/abs/1710.10196
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.parts.residual_gan import double

SLOPE = 0.2  # appendix A.1, leaky rectifiers
GAIN = math.sqrt(2)  # section 4.1: the constant of He et al. (2015), sqrt(2 / fan_in)


class EqualisedLinear(nn.Module):
    """A linear layer whose weight is drawn from N(0, 1) and scaled by gain / sqrt(fan_in) when used.

    lr_multiplier: slows the layer: the parameters are held divided, and used multiplied, by it.
    """

    def __init__(self, in_features: int, out_features: int, gain: float = GAIN, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.scale, self.lr_multiplier = gain / math.sqrt(in_features) * lr_multiplier, lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """(*B, in_features) to (*B, out_features)."""
        return F.linear(x, self.weight * self.scale, self.bias * self.lr_multiplier)


class EqualisedConv2d(nn.Module):
    """A convolution that keeps the side, scaled like `EqualisedLinear`; fan_in is in_channels * kernel²."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, gain: float = GAIN, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.scale, self.padding = gain / math.sqrt(in_channels * kernel**2), kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


def pixel_norm(a: Tensor) -> Tensor:
    """a / sqrt(mean over channels of a² + 1e-8), shape (N, C, ...) kept: mean square 1 at every pixel."""
    return a * torch.rsqrt(a.square().mean(dim=1, keepdim=True) + 1e-8)


def minibatch_deviation(x: Tensor) -> Tensor:
    """Appends to (N, C, H, W) one channel: the average over features of their deviation over the batch (ddof 0)."""
    deviation = torch.sqrt((x - x.mean(dim=0)).square().mean(dim=0) + 1e-8).mean()
    return torch.cat([x, deviation.expand(len(x), 1, *x.shape[2:])], dim=1)


class EqualisedConv4x4(nn.Module):
    """Noise to 4×4: "Conv 4×4" of table 2 on a single pixel, a linear map with one bias a channel."""

    def __init__(self, latent_dim: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, 4, 4, latent_dim))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.scale = GAIN / 4 / math.sqrt(latent_dim)

    def forward(self, z: Tensor) -> Tensor:
        """(N, latent_dim) to (N, channels, 4, 4)."""
        return torch.einsum("chwd,nd->nchw", self.weight * self.scale, z) + self.bias[:, None, None]


# --- level l works at side 4 * 2^l


def halve(x: Tensor) -> Tensor:
    """Average of each 2×2 square: (N, C, H, W) to (N, C, H/2, W/2)."""
    return F.avg_pool2d(x, 2)


def blur(x: Tensor) -> Tensor:
    """Each map convolved with (1, 2, 1)' (1, 2, 1) / 16, zeros outside: (N, C, H, W), shaped the same."""
    x = F.pad(x, (1, 1, 1, 1))  # sums of shifts: second derivatives of a convolution by groups cost twice as much
    x = x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]
    return (x[..., :-2, :] + 2 * x[..., 1:-1, :] + x[..., 2:, :]) / 16


def levels_of(resolution: int) -> int:
    """How many levels reach the resolution, the first being 4×4.

    Raises:
        ValueError: the resolution is no power of two, or below 4.
    """
    if resolution < 4 or resolution & (resolution - 1):
        raise ValueError(f"the resolution must be a power of two from 4 on, got {resolution}")
    return resolution.bit_length() - 2


@dataclass(frozen=True)
class Widths:
    """Channels at level l: min(base / 2^(l + 1), most); table 2 has base 8192 and 512 at most."""

    base: int = 8192
    most: int = 512

    def __call__(self, level: int) -> int:
        return max(1, min(self.base >> (level + 1), self.most))


PAPER_WIDTHS = Widths()


@dataclass(frozen=True)
class Stage:
    """How far the networks have grown: the level in use, and the weight alpha of its newest layers."""

    level: int
    alpha: float = 1.0


def real_at(x: Tensor, stage: Stage, levels: int) -> Tensor:
    """Full-size images as data for a stage: halved to its resolution, blended with their coarser version by alpha."""
    for _ in range(levels - 1 - stage.level):
        x = halve(x)
    return x if stage.alpha == 1 else torch.lerp(double(halve(x)), x, stage.alpha)
