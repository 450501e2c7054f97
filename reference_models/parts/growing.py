"""How an adversarial pair grows: its levels, their widths, when a level is faded in, and what data look like meanwhile.

Level l works at side 4 * 2^l. The stage of training is a level and the weight alpha of its newest layers: a new level
counts for nothing at first, for everything at last. `halve` and `blur` are how images and features lose resolution.

Progressive Growing of GANs for Improved Quality, Stability, and Variation (Karras et al., 2018), figure 2, appendix
A.1, https://arxiv.org/abs/1710.10196
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.parts.residual_gan import double
from reference_models.parts.validate import at_least


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


def real_at(x: Tensor, stage: Stage, levels: int) -> Tensor:
    """Full-size images as data for a stage: halved to its resolution, blended with their coarser version by alpha."""
    for _ in range(levels - 1 - stage.level):
        x = halve(x)
    return x if stage.alpha == 1 else torch.lerp(double(halve(x)), x, stage.alpha)


def blend_rgb(to_rgb: nn.ModuleList, before: Tensor, h: Tensor, stage: Stage) -> Tensor:
    """The image of a stage from the features of the last two levels."""
    x: Tensor = to_rgb[stage.level](h)
    if stage.level == 0 or stage.alpha == 1:
        return x
    return torch.lerp(double(to_rgb[stage.level - 1](before)), x, stage.alpha)
