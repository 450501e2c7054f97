"""Attention: causal with a cache for sampling, transformer blocks, and attention over the pixels of a feature map.

    Attention(Q, K, V) = softmax(Q Kᵀ / √d) V

"Attention Is All You Need" (Vaswani et al., 2017), eq. 1, https://arxiv.org/abs/1706.03762. Blocks normalise before
each sublayer, as "Language Models are Unsupervised Multitask Learners" (Radford et al., 2019) does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class KeyValueCache:
    """Keys and values of the tokens seen so far, (*B, heads, T, d) each, or None before the first token."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Adds tokens at the end and returns all keys and all values."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat([self.keys, keys], dim=-2), torch.cat([self.values, values], dim=-2)
        self.keys, self.values = keys, values
        return keys, values


class CausalSelfAttention(nn.Module):
    """Multi-head self-attention, (*B, T, dim) to (*B, T, dim); token i sees tokens 0..i (all, if causal is False)."""

    def __init__(self, dim: int, heads: int, causal: bool = True) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"dim must be divisible by heads, got {dim} and {heads}")
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """With a cache, x holds only the new tokens, which see all tokens before them as well."""
        q, k, v = (self._split(part) for part in self.qkv(x).chunk(3, dim=-1))  # (*B, heads, T, d) each
        if cache is not None:
            k, v = cache.append(k, v)
        mask = None
        if self.causal:
            new, total = q.shape[-2], k.shape[-2]
            mask = torch.ones(new, total, dtype=torch.bool, device=x.device).tril(total - new)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (*B, heads, T, d)
        return self.out(y.transpose(-2, -3).flatten(-2))  # (*B, T, dim)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)


class TransformerBlock(nn.Module):
    """h + Attention(LN h), then h + MLP(LN h): (*B, T, dim) to (*B, T, dim)."""

    def __init__(self, dim: int, heads: int, causal: bool = True, mlp_ratio: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = CausalSelfAttention(dim, heads, causal)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_ratio * dim), nn.GELU(), nn.Linear(mlp_ratio * dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        x = x + self.dropout(self.attention(self.norm_attention(x), cache))
        return x + self.dropout(self.mlp(self.norm_mlp(x)))


class SpatialSelfAttention(nn.Module):
    """Residual self-attention over the pixels of a feature map, every pixel seeing all: (N, C, H, W), shape kept."""

    def __init__(self, channels: int, heads: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.attention = CausalSelfAttention(channels, heads, causal=False)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(-2).transpose(-1, -2)  # (N, H·W, C)
        y: Tensor = self.attention(tokens).transpose(-1, -2)
        return x + y.reshape(x.shape)
