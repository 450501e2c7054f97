"""What a network of images is told besides the time: a label, embedded, or tokens, to which the pixels attend.

    Attention(Q, K, V) = softmax(Q Kᵀ / √d) V,    Q = W_Q h of every pixel,    K = W_K c and V = W_V c of every token

"High-Resolution Image Synthesis with Latent Diffusion Models" (Rombach, Blattmann, Lorenz, Esser, Ommer, 2022), section
3.3, https://arxiv.org/abs/2112.10752
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def embed_labels(table: nn.Embedding | None, y: Tensor | None, batch: int) -> Tensor | float:
    """Rows (N, E) of the table for labels (N,) or (); its last row means "no label", as None does. 0 without a table.

    Raises ValueError for labels out of range, or given without a table.
    """
    if table is None:
        if y is not None:
            raise ValueError("labels were given to a network built without num_classes")
        return 0.0
    null = table.num_embeddings - 1
    labels = torch.as_tensor(null if y is None else y, device=table.weight.device)
    if y is not None and labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) <= null:
        raise ValueError(f"labels must lie in 0..{null} ({null}: no label), got {labels.min()}..{labels.max()}")
    return table(labels.expand(batch))


def flatten_tokens(context: Tensor | None, batch_shape: torch.Size, features: int) -> Tensor:
    """Tokens (*B, L, E), E = `features`, as (N, L, E). Raises ValueError for another shape, or where there are none."""
    if context is None or context.ndim < 2 or (context.shape[:-2], context.shape[-1]) != (batch_shape, features):
        wanted = ", ".join(map(str, (*batch_shape, "L", features)))
        raise ValueError(
            f"the context must have shape ({wanted}), got {None if context is None else tuple(context.shape)}"
        )
    return context.reshape(-1, *context.shape[-2:])


class SpatialCrossAttention(nn.Module):
    """Pixels (N, C, H, W) attend to tokens (N, L, E); what they find is added to them: (N, C, H, W).

    channels, features: C, a multiple of `heads`, and E; groups: of the normalisation of the pixels
    """

    def __init__(self, channels: int, features: int, heads: int = 1, groups: int = 1) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(f"channels must be divisible by heads, got {channels} and {heads}")
        self.heads = heads
        self.norm = nn.GroupNorm(groups, channels)
        self.queries = nn.Linear(channels, channels, bias=False)
        self.keys = nn.Linear(features, channels, bias=False)
        self.values = nn.Linear(features, channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x (N, C, H, W) and context (N, L, E) -> (N, C, H, W)."""
        pixels = self.norm(x).flatten(-2).transpose(-1, -2)  # (N, H·W, C)
        q = self._split(self.queries(pixels))  # (N, heads, H·W, d)
        k, v = self._split(self.keys(context)), self._split(self.values(context))  # (N, heads, L, d) each
        found = F.scaled_dot_product_attention(q, k, v).transpose(-2, -3).flatten(-2)  # (N, H·W, C)
        y: Tensor = self.out(found).transpose(-1, -2)
        return x + y.reshape(x.shape)

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(-2, -3)
