"""How probes read a time and a condition: one for each sample, or one for all; never by Python's negative indices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def per_sample(time: Any, x: Tensor, what: str = "time") -> Tensor:
    """A time shaped so that it multiplies x: () becomes (1, …, 1), (B,) becomes (B, 1, …, 1).

    Args:
        time: a number, a tensor of shape (), or one of shape (B,) for x of shape (B, *).

    Raises:
        ValueError: it has any other shape, as (B, 1).
    """
    t: Tensor = torch.as_tensor(time, device=x.device)
    if t.dim() > 1 or (t.dim() == 1 and t.shape != x.shape[:1]):
        raise ValueError(f"this network takes one {what} a sample, shape {tuple(x.shape[:1])}, got {tuple(t.shape)}")
    return t.reshape(t.shape + (1,) * (x.dim() - t.dim()))


def whole(time: Any, n: int, what: str = "times") -> Tensor:
    """Times as indices into a table of n entries, int64.

    Raises:
        ValueError: one of them is not a whole number, or lies outside 0 … n − 1.
    """
    t: Tensor = torch.as_tensor(time)
    if t.dtype == torch.bool or bool((t != t.round()).any()):
        raise ValueError(f"this network knows the {what} 0 … {n - 1}, got {float(t[t != t.round()][:1].sum()):.4g}")
    outside = (t < 0) | (t >= n)
    if bool(outside.any()):
        raise ValueError(f"this network knows the {what} 0 … {n - 1}, got {float(t[outside].flatten()[0]):.4g}")
    return t.long()


def at(table: Tensor, t: Any, x: Tensor, what: str = "times") -> Tensor:
    """The entries of a table (T,) or (T, *shape of a sample) at the times of the samples, shaped to multiply x."""
    index = whole(t, len(table), what).to(table.device)
    weighed = per_sample(index, x, what.removesuffix("s"))  # its shape is looked at
    return table.to(x.dtype)[weighed if table.dim() == 1 else index]
