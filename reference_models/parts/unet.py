"""The U-Net of denoising diffusion: residual blocks that know the time, attention at chosen levels, skips across.

The image goes down through levels of halving resolution and comes up again; every activation of the way down is
concatenated to its counterpart of the way up. Each residual block adds a projection of the time embedding,

    h = conv(swish(norm(x))),    h <- h + W swish(emb(t)),    out = shortcut(x) + conv(dropout(swish(norm(h)))),

and a label is embedded and added to emb(t). The last convolution of each block, the last of each attention
and the last of all start at zero, so that a block starts as its shortcut and the network as the zero function.

"Denoising Diffusion Probabilistic Models" (Ho, Jain, Abbeel, 2020), appendix B, https://arxiv.org/abs/2006.11239

NOTE: downsampling pads both sides by one, the paper's code pads right and bottom only; parameters are the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.parts.attention import SpatialSelfAttention
from reference_models.parts.networks import sinusoidal_embedding
from reference_models.parts.shapes import flatten_batch, restore_batch
from reference_models.parts.validate import at_least

M = TypeVar("M", bound=nn.Module)


def group_norm(channels: int) -> nn.GroupNorm:
    """Thirty-two groups as in the paper, fewer where a group would have less than four channels."""
    return nn.GroupNorm(max(1, min(math.gcd(channels, 32), channels // 4)), channels, eps=1e-6)


def zeroed(module: M) -> M:
    """The module with all its parameters at zero."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class ResidualBlock(nn.Module):
    """Two normalised 3×3 convolutions around a shortcut; `embedding_features=0` leaves the time out."""

    def __init__(self, channels_in: int, channels_out: int, embedding_features: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm_in = group_norm(channels_in)
        self.conv_in = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.project = nn.Linear(embedding_features, channels_out) if embedding_features else None
        self.norm_out = group_norm(channels_out)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = zeroed(nn.Conv2d(channels_out, channels_out, 3, padding=1))
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """x (N, C_in, H, W) and embedding (N, E) -> (N, C_out, H, W)."""
        h: Tensor = self.conv_in(F.silu(self.norm_in(x)))
        if self.project is not None and embedding is not None:
            h = h + self.project(F.silu(embedding))[:, :, None, None]
        h = self.conv_out(self.dropout(F.silu(self.norm_out(h))))
        shortcut: Tensor = self.shortcut(x)
        return shortcut + h


def attention_block(channels: int) -> SpatialSelfAttention:
    """Every pixel attends to every pixel, one head, added to the input."""
    block = SpatialSelfAttention(channels, groups=group_norm(channels).num_groups)
    zeroed(block.attention.out)
    return block


class Downsample(nn.Module):
    """Halves height and width by a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class Upsample(nn.Module):
    """Doubles height and width by repetition, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


class _Stage(nn.Module):
    """One residual block and, where the level asks for it, attention."""

    def __init__(self, channels_in: int, channels_out: int, embedding_features: int, dropout: float, attend: bool):
        super().__init__()
        self.block = ResidualBlock(channels_in, channels_out, embedding_features, dropout)
        self.attention = attention_block(channels_out) if attend else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        out: Tensor = self.attention(self.block(x, embedding))
        return out


class UNet(nn.Module):
    """f(x, t) or f(x, t, y): an image of `channels_out` channels at the resolution of x.

    channels_in, channels_out: channels of the input (a condition image may be concatenated to it) and of the output
    base: channels at full resolution
    multipliers: one a level; level i has base · multipliers[i] channels and 1/2^i of the resolution
    blocks: residual blocks of a level on the way down (one more on the way up)
    attention_at: levels with attention, 0 being full resolution (the middle always has one)
    num_classes: K if labels are given; label K, and no label at all, mean "no label"
    dropout: probability inside residual blocks
    time_scale: t is multiplied by it before its embedding: 1 for steps 0..T−1, 1000 for t in [0, 1]

    Raises ValueError for a level that does not exist, for no level, no block or no channel.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        base: int = 32,
        multipliers: Sequence[int] = (1, 2),
        blocks: int = 1,
        attention_at: Sequence[int] = (1,),
        num_classes: int | None = None,
        dropout: float = 0.0,
        time_scale: float = 1.0,
    ) -> None:
        super().__init__()
        for name, value in (("channels_in", channels_in), ("channels_out", channels_out), ("blocks", blocks)):
            at_least(name, value, 1)
        at_least("the number of levels", len(multipliers), 1)
        if base < 2 or base % 2:
            raise ValueError(f"base must be even (half its channels are sines, half cosines), got {base}")
        if outside := [level for level in attention_at if not 0 <= level < len(multipliers)]:
            raise ValueError(f"attention_at names levels {outside}, there are levels 0..{len(multipliers) - 1}")
        self.channels_in = channels_in
        self.base = base
        self.num_classes = num_classes
        self.time_scale = time_scale
        features = 4 * base
        self.time = nn.Sequential(nn.Linear(base, features), nn.SiLU(), nn.Linear(features, features))
        self.labels = nn.Embedding(num_classes + 1, features) if num_classes is not None else None

        widths = [base * m for m in multipliers]
        width = base
        self.conv_in = nn.Conv2d(channels_in, width, 3, padding=1)
        skips = [width]
        self.down = nn.ModuleList()
        for level, channels in enumerate(widths):
            for _ in range(blocks):
                self.down.append(_Stage(width, channels, features, dropout, level in attention_at))
                width = channels
                skips.append(width)
            if level < len(widths) - 1:
                self.down.append(Downsample(width))
                skips.append(width)
        self.middle = nn.ModuleList(
            [_Stage(width, width, features, dropout, attend=True), _Stage(width, width, features, dropout, False)]
        )
        self.up = nn.ModuleList()
        for level, channels in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.up.append(_Stage(width + skips.pop(), channels, features, dropout, level in attention_at))
                width = channels
            if level > 0:
                self.up.append(Upsample(width))
        self.norm_out = group_norm(width)
        self.conv_out = zeroed(nn.Conv2d(width, channels_out, 3, padding=1))
        self.divisor = 2 ** (len(widths) - 1)

    @classmethod
    def ddpm_cifar10(cls, num_classes: int | None = None) -> UNet:
        """The network of the paper at 32×32: four levels, attention at 16×16, 35.7 million parameters."""
        return cls(3, 3, 128, (1, 2, 2, 2), blocks=2, attention_at=(1,), num_classes=num_classes, dropout=0.1)

    def embed(self, t: Tensor | float, y: Tensor | None, batch: int) -> Tensor:
        """Time, (N,) or a scalar, and labels, (N,) or a scalar, as one embedding (N, 4·base)."""
        weight = self.conv_in.weight
        times = torch.as_tensor(t, device=weight.device).to(weight.dtype).expand(batch)
        embedding: Tensor = self.time(sinusoidal_embedding(self.time_scale * times, self.base))
        if self.labels is None:
            if y is not None:
                raise ValueError("labels were given to a U-Net built without num_classes")
            return embedding
        null = self.labels.num_embeddings - 1
        labels = torch.as_tensor(null if y is None else y, device=weight.device)
        if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) > null):
            raise ValueError(f"labels must lie in 0..{null} ({null}: no label), got {labels.min()}..{labels.max()}")
        label: Tensor = self.labels(labels.expand(batch))
        return embedding + label

    def forward(self, x: Tensor, t: Tensor | float, y: Tensor | None = None) -> Tensor:
        """x (*B, C_in, H, W), t (*B,) or a scalar, y (*B,) or None -> (*B, C_out, H, W).

        Raises ValueError for other channels, for sides the levels do not divide, for labels out of range.
        """
        if x.ndim not in (3, 4) or x.shape[-3] != self.channels_in:
            raise ValueError(f"x must have shape (*B, {self.channels_in}, H, W), got {tuple(x.shape)}")
        if x.shape[-1] % self.divisor or x.shape[-2] % self.divisor:
            raise ValueError(f"height and width must be multiples of {self.divisor}, got {tuple(x.shape[-2:])}")
        x, batch_shape = flatten_batch(x, 3)  # (N, C, H, W)
        embedding = self.embed(t, y, len(x))
        h: Tensor = self.conv_in(x)
        skips = [h]
        for layer in self.down:
            h = layer(h) if isinstance(layer, Downsample) else layer(h, embedding)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, embedding)
        for layer in self.up:
            h = layer(h) if isinstance(layer, Upsample) else layer(torch.cat([h, skips.pop()], dim=1), embedding)
        h = self.conv_out(F.silu(self.norm_out(h)))
        return restore_batch(h, batch_shape)
