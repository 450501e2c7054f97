"""The residual networks that adversarial families share: from noise to images, and from images to a score.

    UpBlock     x + ...:  normalise, relu, (double), conv, normalise, relu, conv;  shortcut (double), 1×1 conv
    DownBlock   x + ...:  relu, conv, relu, conv, (halve);                         shortcut 1×1 conv, (halve)

Doubling is nearest-neighbour, halving average pooling. WGAN-GP trains them plainly, SNGAN with spectral normalisation
of the critic, SAGAN and BigGAN with it in both, with labels and with attention; what differs is arguments. A critic
with labels scores phi(x)'w + b + phi(x)'V y, "projection": the form of the log-ratio of two densities whose class
conditionals are log-linear.

Improved Training of Wasserstein GANs (Gulrajani et al., 2017), appendix, https://arxiv.org/abs/1704.00028
cGANs with Projection Discriminator (Miyato, Koyama, 2018), section 2, figure 1 (d), https://arxiv.org/abs/1802.05637
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.parts.require import one_of

Wrap = Callable[[nn.Module], nn.Module]  # the identity, or spectral normalisation of the layer's weight
Norm = Callable[[int], nn.Module]  # channels to a layer called as norm(x), or norm(x, condition) with a condition


def plain(layer: nn.Module) -> nn.Module:
    """The layer itself."""
    return layer


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation whose gain and offset follow the condition: (1 + gain(c)) x_normalised + offset(c).

    gain, offset: networks from a condition to (N, channels).
    """

    def __init__(self, channels: int, gain: nn.Module, offset: nn.Module) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain, self.offset = gain, offset

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(N, C, H, W), shaped the same."""
        gain: Tensor = self.gain(condition)
        offset: Tensor = self.offset(condition)
        normalised: Tensor = self.norm(x)
        return (1 + gain[:, :, None, None]) * normalised + offset[:, :, None, None]


def class_batch_norm(num_classes: int) -> Norm:
    """Batch normalisation with a gain and an offset for each class and channel, first 1 and 0."""

    def build(channels: int) -> nn.Module:
        tables = nn.Embedding(num_classes, channels), nn.Embedding(num_classes, channels)
        for table in tables:
            nn.init.zeros_(table.weight)
        return ConditionalBatchNorm(channels, *tables)

    return build


class UpBlock(nn.Module):
    """A residual block of a generator: (N, in_channels, H, W) to (N, out_channels, 2H, 2W)."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm = nn.BatchNorm2d, wrap: Wrap = plain) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(in_channels), norm(out_channels)
        self.conv1 = wrap(nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.conv2 = wrap(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.shortcut = wrap(nn.Conv2d(in_channels, out_channels, 1))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        extra = () if condition is None else (condition,)
        h: Tensor = double(self.norm1(x, *extra).relu())
        h = self.conv2(self.norm2(self.conv1(h), *extra).relu())
        return double(self.shortcut(x)) + h  # a 1×1 convolution commutes with doubling


class DownBlock(nn.Module):
    """A residual block of a critic: (N, in_channels, H, W) to (N, out_channels, H/2, W/2), the side kept on demand.

    first: the block reads pixels, so it does not begin with a rectifier.
    """

    def __init__(
        self, in_channels: int, out_channels: int, downsample: bool = True, first: bool = False, wrap: Wrap = plain
    ) -> None:
        super().__init__()
        self.downsample, self.first = downsample, first
        self.conv1 = wrap(nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.conv2 = wrap(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        learned = downsample or in_channels != out_channels
        self.shortcut = wrap(nn.Conv2d(in_channels, out_channels, 1)) if learned else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.conv1(x if self.first else x.relu())
        h = self.conv2(h.relu())
        out: Tensor = h + self.shortcut(x)
        return F.avg_pool2d(out, 2) if self.downsample else out  # pooling is linear: once for both branches


class ResNetGenerator(nn.Module):
    """Noise to images in [-1, 1], each block doubling the side.

    latent_dim: size of z.
    widths: channels at the start and after each block.
    image_shape: (C, H, W) with H = W = start * 2^(number of blocks).
    norm: normalisation inside the blocks, called with the condition when there is one; the last one never is.
    wrap: applied to every linear and convolutional layer.
    attention: layers inserted where the side has the given length, built from the number of channels there.

    Raises:
        ValueError: the side does not follow from `start` and the number of blocks, attention at a side no block makes.
    """

    def __init__(
        self,
        latent_dim: int,
        widths: Sequence[int],
        image_shape: Sequence[int],
        *,
        start: int = 4,
        norm: Norm = nn.BatchNorm2d,
        wrap: Wrap = plain,
        attention: Mapping[int, Callable[[int], nn.Module]] | None = None,
    ) -> None:
        super().__init__()
        channels, *given = image_shape
        side = start << (len(widths) - 1)
        if start < 1 or any(length != side for length in given):
            raise ValueError(f"{len(widths) - 1} blocks make {start} x {start} into {side} x {side}, not {given}")
        self.start = start
        self.project = wrap(nn.Linear(latent_dim, widths[0] * start * start))
        self.blocks = nn.ModuleList(UpBlock(*pair, norm, wrap) for pair in pairwise(widths))
        sides = [start << index for index in range(1, len(widths))]
        attention = _reachable(attention, sides)
        self.attention = nn.ModuleDict(
            {
                str(index): attention[side](width)
                for index, (side, width) in enumerate(zip(sides, widths[1:], strict=True))
                if side in attention
            }
        )
        self.last_norm = nn.BatchNorm2d(widths[-1])
        self.to_pixels = wrap(nn.Conv2d(widths[-1], channels, 3, padding=1))

    def inputs(self, z: Tensor, condition: Tensor | None) -> tuple[Tensor, list[Tensor | None]]:
        """What the projection reads, and the condition of each block."""
        return z, [condition] * len(self.blocks)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(N, latent_dim) to (N, C, H, W)."""
        z, conditions = self.inputs(z, condition)
        h: Tensor = self.project(z)
        h = h.reshape(len(h), -1, self.start, self.start)  # (N, widths[0], start, start)
        for index, (block, c) in enumerate(zip(self.blocks, conditions, strict=True)):
            h = block(h, c)
            if str(index) in self.attention:
                h = self.attention[str(index)](h)
        x: Tensor = self.to_pixels(self.last_norm(h).relu())
        return x.tanh()


class ResNetCritic(nn.Module):
    """Images to scores, with labels by projection.

    widths: channels after each block.
    downsample: whether each block halves the side.
    pool: how the last features are gathered over space.
    num_classes: None for a critic without labels.
    wrap, attention: as in the generator; the label table is wrapped too.

    Raises:
        ValueError: widths and downsample differ in length, unknown pooling, a side that cannot be halved so often,
            attention at a side no halving makes, labels missing or given to a critic without.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        widths: Sequence[int],
        *,
        downsample: Sequence[bool],
        pool: Literal["sum", "mean"] = "sum",
        num_classes: int | None = None,
        wrap: Wrap = plain,
        attention: Mapping[int, Callable[[int], nn.Module]] | None = None,
    ) -> None:
        super().__init__()
        one_of("pool", pool, ("sum", "mean"))
        if len(widths) != len(downsample):
            raise ValueError(f"every block needs a width, got {len(widths)} widths for {len(downsample)} blocks")
        channels, *sides = image_shape
        if any(side % (1 << sum(downsample)) for side in sides):
            raise ValueError(f"{sum(downsample)} halvings do not fit images of {sides[0]} x {sides[1]}")
        attention = _reachable(attention, [sides[0] >> count for count in range(1, sum(downsample) + 1)])
        self.pool, self.layers, side = pool, nn.Sequential(), sides[0]
        for index, ((narrow, wide), halve) in enumerate(zip(pairwise([channels, *widths]), downsample, strict=True)):
            self.layers.append(DownBlock(narrow, wide, halve, first=index == 0, wrap=wrap))
            if halve:
                side //= 2
                if side in attention:
                    self.layers.append(attention[side](wide))
        self.linear = wrap(nn.Linear(widths[-1], 1))
        self.project = wrap(nn.Embedding(num_classes, widths[-1])) if num_classes else None

    def features(self, x: Tensor) -> Tensor:
        """phi(x): (N, C, H, W) to (N, widths[-1])."""
        h: Tensor = self.layers(x)
        h = h.relu()
        return h.sum(dim=(2, 3)) if self.pool == "sum" else h.mean(dim=(2, 3))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(N, C, H, W) to (N,); `condition` holds labels (N,)."""
        phi = self.features(x)
        score: Tensor = self.linear(phi)
        if self.project is None:
            if condition is not None:
                raise ValueError(f"a critic without classes was given labels, shape {tuple(condition.shape)}")
            return score.squeeze(-1)
        if condition is None or condition.shape != x.shape[:1]:
            labels = "none" if condition is None else f"shape {tuple(condition.shape)}"
            raise ValueError(f"{len(x)} images need {len(x)} labels, got {labels}")
        classes: Tensor = self.project(condition)
        return score.squeeze(-1) + (classes * phi).sum(dim=-1)


def _reachable(
    attention: Mapping[int, Callable[[int], nn.Module]] | None, sides: Sequence[int]
) -> Mapping[int, Callable[[int], nn.Module]]:
    missed = sorted(set(attention or {}) - set(sides))
    if missed:
        raise ValueError(f"attention at sides {missed}, but features have sides {list(sides)}")
    return attention or {}


def double(x: Tensor) -> Tensor:
    """Each pixel twice in both directions: (N, C, H, W) to (N, C, 2H, 2W)."""
    return x.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
