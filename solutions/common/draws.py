"""Random inputs of hidden checks; `rng` is the generator of the run and the check."""

from __future__ import annotations

import torch

F64 = torch.float64


def randint(rng, low, high):
    """An integer from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (), generator=rng))


def normal(rng, *shape):
    """Standard normal numbers in float64."""
    return torch.randn(shape, generator=rng, dtype=F64)


def bits(rng, *shape):
    """Fair zeros and ones in float64."""
    return torch.randint(0, 2, shape, generator=rng).to(F64)
