"""A small network for diffusion of symbols: a transformer in which every position sees all the others, told the time.

"Structured Denoising Diffusion Models in Discrete State-Spaces" (Austin, Johnson, Ho, Tarlow, van den Berg, 2021),
section 5, uses a transformer for text, https://arxiv.org/abs/2107.03006
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reference_models.parts.attention import TransformerBlock
from reference_models.parts.networks import time_embedding


class TokenTransformer(nn.Module):
    """A transformer without causal mask: symbols (N, *event) of S states and t (N,) -> logits (N, *event, K)."""

    def __init__(
        self, event_shape: Sequence[int], states: int, classes: int, dim: int = 64, heads: int = 4, depth: int = 2
    ) -> None:
        super().__init__()
        self.symbols = nn.Embedding(states, dim)
        self.positions = nn.Parameter(torch.randn(math.prod(event_shape), dim))  # as large as the symbols
        self.time = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.blocks = nn.ModuleList(TransformerBlock(dim, heads, causal=False) for _ in range(depth))
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, classes))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Logits of x_0, with the symbols of x_t attending to each other."""
        embedding = time_embedding(t, self.positions.shape[1], self.positions)
        h: Tensor = self.symbols(x.flatten(1)) + self.positions + self.time(embedding).unsqueeze(1)  # (N, E, dim)
        for block in self.blocks:
            h = block(h)
        logits: Tensor = self.head(h)
        return logits.reshape(*x.shape, -1)
