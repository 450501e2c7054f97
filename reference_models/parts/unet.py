"""The U-Net of denoising diffusion: residual blocks that know the time, attention at chosen levels, skips across.

The image goes down through levels of halving resolution and comes up again; every activation of the way down is
concatenated to its counterpart of the way up. Each residual block adds a projection of the time embedding,

    h = conv(swish(norm(x))),    h <- h + W swish(emb(t)),    out = shortcut(x) + conv(dropout(swish(norm(h)))),

and a label is embedded and added to emb(t), or tokens are attended to after each attention. The last convolution of
each block, the last of each attention and the last of all start at zero, so that a block starts as its shortcut and the
network as the zero function.

"Denoising Diffusion Probabilistic Models" (Ho, Jain, Abbeel, 2020), appendix B, https://arxiv.org/abs/2006.11239;
tokens: "High-Resolution Image Synthesis with Latent Diffusion Models" (Rombach et al., 2022), section 3.3,
https://arxiv.org/abs/2112.10752

NOTE: downsampling pads both sides by one, the code of Ho et al. pads right and bottom only; parameters are the same.
Rombach et al. attend in whole transformer blocks, with a perceptron after both attentions; here there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.parts.attention import SpatialSelfAttention
from reference_models.parts.conditioning import SpatialCrossAttention, embed_labels, flatten_tokens
from reference_models.parts.networks import time_embedding
from reference_models.parts.require import at_least
from reference_models.parts.shapes import flatten_batch, restore_batch

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


def cross_attention_block(channels: int, context_features: int) -> SpatialCrossAttention:
    """Every pixel attends to every token of the context, one head, added to the input."""
    block = SpatialCrossAttention(channels, context_features, groups=group_norm(channels).num_groups)
    zeroed(block.out)
    return block


class Downsample(nn.Module):
    """Halves height and width by a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Upsample(nn.Module):
    """Doubles height and width by repetition, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class _Stage(nn.Module):
    """One residual block and, where the level asks for it, attention to all pixels, then to the context if any."""

    def __init__(
        self, channels_in: int, channels_out: int, embedding_features: int, dropout: float, attend: bool, context: int
    ) -> None:
        super().__init__()
        self.block = ResidualBlock(channels_in, channels_out, embedding_features, dropout)
        self.attention = attention_block(channels_out) if attend else nn.Identity()
        self.cross = cross_attention_block(channels_out, context) if attend and context else None

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor | None = None) -> Tensor:
        h: Tensor = self.attention(self.block(x, embedding))
        if self.cross is not None:
            h = self.cross(h, context)
        return h


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
    context_features: E if y is no label but a context of tokens, (*B, L, E), to which levels with attention attend

    Raises ValueError for a level that does not exist, for no level, no block or no channel, for labels and tokens both.
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
        context_features: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("channels_in", channels_in), ("channels_out", channels_out), ("blocks", blocks)):
            at_least(name, value, 1)
        at_least("the number of levels", len(multipliers), 1)
        at_least("context_features", context_features, 0)
        if base < 2 or base % 2:
            raise ValueError(f"base must be even (half its channels are sines, half cosines), got {base}")
        if outside := [level for level in attention_at if not 0 <= level < len(multipliers)]:
            raise ValueError(f"attention_at names levels {outside}, there are levels 0..{len(multipliers) - 1}")
        if num_classes is not None and context_features:
            raise ValueError(f"y is a label or a context, got {num_classes} classes and {context_features} features")
        self.channels_in = channels_in
        self.base = base
        self.num_classes = num_classes
        self.time_scale = time_scale
        self.context_features = context_features
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
                self.down.append(_Stage(width, channels, features, dropout, level in attention_at, context_features))
                width = channels
                skips.append(width)
            if level < len(widths) - 1:
                self.down.append(Downsample(width))
                skips.append(width)
        self.middle = nn.ModuleList(
            _Stage(width, width, features, dropout, attend, context_features) for attend in (True, False)
        )
        self.up = nn.ModuleList()
        for level, channels in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                joined = width + skips.pop()
                self.up.append(_Stage(joined, channels, features, dropout, level in attention_at, context_features))
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
        times = time_embedding(t, self.base, self.conv_in.weight, self.time_scale).expand(batch, -1)
        embedding: Tensor = self.time(times)
        return embedding + embed_labels(self.labels, y, batch)

    def forward(self, x: Tensor, t: Tensor | float, y: Tensor | None = None) -> Tensor:
        """x (*B, C_in, H, W), t (*B,) or a scalar, y (*B,) or None, or a context (*B, L, E) -> (*B, C_out, H, W).

        Raises ValueError for other channels, for sides the levels do not divide, for labels out of range, for a context
        of another shape or none where there should be one.
        """
        if x.ndim not in (3, 4) or x.shape[-3] != self.channels_in:
            raise ValueError(f"x must have shape (*B, {self.channels_in}, H, W), got {tuple(x.shape)}")
        if x.shape[-1] % self.divisor or x.shape[-2] % self.divisor:
            raise ValueError(f"height and width must be multiples of {self.divisor}, got {tuple(x.shape[-2:])}")
        x, batch_shape = flatten_batch(x, 3)  # (N, C, H, W)
        context = flatten_tokens(y, batch_shape, self.context_features) if self.context_features else None
        embedding = self.embed(t, y if context is None else None, len(x))
        h: Tensor = self.conv_in(x)
        skips = [h]
        for layer in self.down:
            h = layer(h) if isinstance(layer, Downsample) else layer(h, embedding, context)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, embedding, context)
        for layer in self.up:
            if isinstance(layer, Upsample):
                h = layer(h)
            else:
                h = layer(torch.cat([h, skips.pop()], dim=1), embedding, context)
        h = self.conv_out(F.silu(self.norm_out(h)))
        return restore_batch(h, batch_shape)
