"""Probes of autoregressive models: conditionals that are a table."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .weights import weight_of


class TableConditional(nn.Module):
    """A binary autoregressive model as a table: the logit of pixel i depends on the bits before it in raster order.

    Args:
        logits: shape (2ⁿ − 1,). Pixel i owns the 2ⁱ entries from 2ⁱ − 1 on; among them the bits x_0 … x_{i−1} count
            as a binary number, x_0 being the highest digit.

    Takes images (B, 1, H, W) or vectors (B, n) and returns logits of the same shape. A value above ½ is a one; pixels
    not yet known may hold anything.

    Known: its law, exactly: `table_law(logits)`. With `strong_table` the order in which a sampler fills pixels shows.
    """

    def __init__(self, logits: Any) -> None:
        super().__init__()
        self.logits = weight_of(logits)
        self.pixels = pixels_of(self.logits)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        bits = (x.flatten(1) > 0.5).long()  # (B, n)
        if bits.shape[1] != self.pixels:
            raise ValueError(f"this model has {self.pixels} pixels, got x of shape {tuple(x.shape)}")
        prefix = torch.zeros_like(bits[:, 0])  # (B,), the bits so far as a number
        columns = []
        for i in range(self.pixels):
            columns.append(self.logits[2**i - 1 + prefix])
            prefix = 2 * prefix + bits[:, i]
        logits = torch.stack(columns, 1).reshape(x.shape)
        return logits.to(x.dtype) if x.is_floating_point() else logits


def pixels_of(logits: Tensor) -> int:
    """The n of a table of 2ⁿ − 1 logits. Raises ValueError for any other length."""
    n = (logits.numel() + 1).bit_length() - 1
    if logits.dim() != 1 or logits.numel() != 2**n - 1 or n == 0:
        raise ValueError(f"a table for n pixels has shape (2ⁿ − 1,), got {tuple(logits.shape)}")
    return n
