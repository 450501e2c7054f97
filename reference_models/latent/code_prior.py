"""A prior over grids of codes: gated masked convolutions in raster order, with attention and a condition if asked.

    p(k) = Π_i p(k_i | k_<i, c)

After VQ-VAE or VQ-VAE-2 has been trained, this network is fitted to the codes of the data. The first layer sees the
codes before a cell (mask A), the others the features up to it (mask B); a gated residual block is

    h ← h + conv 1×1( tanh(a) ⊙ σ(b) ),   [a; b] = masked conv(relu(conv 1×1(relu(h)))) + conv 1×1(c)

and attention, where asked for, lets a cell look at all cells before it, which also reaches into the blind spot of
stacked masked convolutions. Conditional Image Generation with PixelCNN Decoders (van den Oord et al., 2016), eq. 2,
https://arxiv.org/abs/1606.05328; sizes and attention of Generating Diverse High-Fidelity Images with VQ-VAE-2 (Razavi,
van den Oord, Vinyals, 2019), section 3.2 and appendix, https://arxiv.org/abs/1906.00446

NOTE: VQ-VAE-2 takes its blocks from PixelSNAIL; the masked convolutions here are those of PixelCNN.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.parts.attention import CausalSelfAttention
from reference_models.parts.raster import RasterConv2d
from reference_models.parts.require import at_least
from reference_models.parts.sampling import draw_categorical
from reference_models.parts.training import evaluating


class GatedBlock(nn.Module):
    """h ↦ h + W(tanh(a) ⊙ σ(b)): (N, hidden, H, W), shape kept; a and b have `inner` channels and see the condition."""

    def __init__(self, hidden: int, inner: int, kernel_size: int, condition_channels: int, dropout: float) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.ReLU(), nn.Conv2d(hidden, inner, 1), nn.ReLU())
        self.masked = RasterConv2d("B", inner, 2 * inner, kernel_size, channels=1)
        self.condition = nn.Conv2d(condition_channels, 2 * inner, 1) if condition_channels else None
        self.dropout, self.out = nn.Dropout(dropout), nn.Conv2d(inner, hidden, 1)

    def forward(self, h: Tensor, condition: Tensor | None) -> Tensor:
        ab = self.masked(self.squeeze(h))
        if self.condition is not None:
            ab = ab + self.condition(condition)
        a, b = ab.chunk(2, dim=1)
        return h + self.out(self.dropout(a.tanh() * b.sigmoid()))


class RasterAttention(nn.Module):
    """h plus causal self-attention over its cells in raster order: (N, hidden, H, W), shape kept.

    A cell's features do not hold its own code, which would be the last that a later cell could learn of it; so each
    token also carries the code of the cell before it.
    """

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.attention = CausalSelfAttention(hidden, heads)

    def forward(self, h: Tensor, embedded: Tensor) -> Tensor:
        before = F.pad(embedded.flatten(2)[:, :, :-1], (1, 0))  # (N, hidden, H·W): one cell later
        tokens = (h.flatten(2) + before).transpose(1, 2)  # (N, H·W, hidden)
        y: Tensor = self.attention(self.norm(tokens)).transpose(1, 2)
        return h + y.reshape(h.shape)


class CodePrior(nn.Module):
    """p(k | c) for grids of codes 0..K−1.

    K: how many codes; grid: (H, W). hidden, inner: channels outside and inside of the blocks. layers: how many gated
    blocks; attention_layers: so many attentions, spread evenly among them. output_layers: 1×1 residual blocks at the
    end. condition_channels: of a map c, (N, C, H, W), that every block sees; 0 for none.
    """

    def __init__(
        self,
        K: int,
        grid: Sequence[int],
        *,
        hidden: int = 32,
        inner: int | None = None,
        layers: int = 3,
        kernel_size: int = 3,
        attention_layers: int = 0,
        heads: int = 1,
        output_layers: int = 1,
        condition_channels: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        at_least("K", K, 1)
        at_least("layers", layers, 1)
        if len(grid) != 2 or min(grid) < 1:
            raise ValueError(f"grid must be (H, W) with positive entries, got {tuple(grid)}")
        self.K, self.grid, self.condition_channels = K, (grid[0], grid[1]), condition_channels
        inner = hidden if inner is None else inner
        self.embedding = nn.Embedding(K, hidden)
        self.place = nn.Parameter(0.02 * torch.randn(hidden, *self.grid))
        self.first = RasterConv2d("A", hidden, hidden, kernel_size, channels=1)
        self.blocks = nn.ModuleList(
            GatedBlock(hidden, inner, kernel_size, condition_channels, dropout) for _ in range(layers)
        )
        self.attention = nn.ModuleList(RasterAttention(hidden, heads) for _ in range(attention_layers))
        self.output = nn.Sequential()
        for _ in range(output_layers):
            self.output.append(nn.Sequential(nn.ReLU(), nn.Conv2d(hidden, hidden, 1)))
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(hidden, K, 1))

    def logits(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Unnormalised log p(k_i | k_<i, c): long (N, h, W), the first h ≤ H rows, to (N, K, h, W)."""
        self._check(codes, condition)
        rows = codes.shape[1]
        if condition is not None:
            condition = condition[:, :, :rows]
        embedded = self.embedding(codes).movedim(-1, 1)  # (N, hidden, h, W)
        h: Tensor = self.first(embedded) + self.place[:, :rows]
        for i, block in enumerate(self.blocks):
            h = block(h, condition)
            for attention in self.attention[i * len(self.attention) // len(self.blocks) : self._attended(i)]:
                h = attention(h, embedded)
        for layer in self.output:
            h = h + layer(h)
        return self.head(h)

    def _attended(self, i: int) -> int:
        return (i + 1) * len(self.attention) // len(self.blocks)

    def _check(self, codes: Tensor, condition: Tensor | None) -> None:
        H, W = self.grid
        if codes.ndim != 3 or codes.shape[2] != W or not 1 <= codes.shape[1] <= H:
            raise ValueError(f"codes must have shape (N, {H}, {W}), got {tuple(codes.shape)}")
        expected = (len(codes), self.condition_channels, H, W) if self.condition_channels else None
        given = None if condition is None else tuple(condition.shape)
        if given != expected:
            raise ValueError(f"condition must have shape {expected}, got {given}")

    def log_prob(self, codes: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """log p(k | c) in nats, summed over the grid: long (N, H, W) to (N,)."""
        if codes.shape[1:] != self.grid:
            raise ValueError(f"codes must have shape (N, {self.grid[0]}, {self.grid[1]}), got {tuple(codes.shape)}")
        if codes.dtype != torch.long or not bool(((codes >= 0) & (codes < self.K)).all()):
            raise ValueError(f"codes must be long integers in 0..{self.K - 1}, got {codes.dtype}: {codes.unique()}")
        log_p = self.logits(codes, condition).log_softmax(dim=1)  # (N, K, H, W)
        return log_p.gather(1, codes.unsqueeze(1)).sum(dim=(1, 2, 3))

    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """n grids, long (n, H, W): cell after cell, each from the rows down to its own."""
        H, W = self.grid
        codes = torch.zeros(n, H, W, dtype=torch.long, device=self.place.device)
        with evaluating(self):
            for i in range(H):
                for j in range(W):
                    codes[:, i, j] = draw_categorical(self.logits(codes[:, : i + 1], condition)[:, :, i, j], generator)
        return codes
