"""The 4×4 bars data and its exact law: horizontal or vertical bars, on with probability ½, 5% of pixels flipped."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from autograder.checks import (
    enumerate_binary,
)


@functools.cache
def log_law(flip: float = 0.05, side: int = 4) -> Tensor:
    """Exact log-probability of all 2^(side²) images, in the order of `enumerate_binary`, float64."""
    x = enumerate_binary((side, side), torch.float64)
    p = torch.zeros(len(x), dtype=torch.float64)
    for bits in enumerate_binary(side, torch.float64):
        for bars in (bits[:, None].expand(side, side), bits[None].expand(side, side)):
            flips = (x - bars).abs().sum((1, 2))
            p += flip**flips * (1 - flip) ** (side * side - flips) / (2 * 2**side)
    return p.log()


def entropy() -> float:
    return float(-(log_law().exp() * log_law()).sum())


def bars(n: int, seed: int, flip: float = 0.05, side: int = 4) -> Tensor:
    """(n, 1, side, side) float32."""
    g = torch.Generator().manual_seed(seed)
    on = (torch.rand(n, side, 1, generator=g) < 0.5).float().expand(n, side, side)
    vertical = torch.rand(n, 1, 1, generator=g) < 0.5
    x = torch.where(vertical, on.transpose(1, 2), on)
    return ((x + (torch.rand(n, side, side, generator=g) < flip).float()) % 2).unsqueeze(1)
