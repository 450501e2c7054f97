"""Batch shapes: every family takes x of shape (*B, *event) and computes on (N, *event)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def flatten_batch(x: Tensor, event_ndim: int) -> tuple[Tensor, torch.Size]:
    """Makes the batch shape (N,), N = 1 where there was none; returns it with the batch shape it had.

    x: shape (*B, *event), the event being the last `event_ndim` dimensions. Raises ValueError when x has fewer.
    """
    if x.ndim < event_ndim:
        raise ValueError(f"expected at least {event_ndim} dimensions, got shape {tuple(x.shape)}")
    split = x.ndim - event_ndim
    batch_shape, event = x.shape[:split], x.shape[split:]
    return x.reshape(math.prod(batch_shape), *event), batch_shape


def restore_batch(y: Tensor, batch_shape: torch.Size) -> Tensor:
    """Undoes `flatten_batch` on a result: (N, *rest) to (*batch_shape, *rest)."""
    return y.reshape((*batch_shape, *y.shape[1:]))  # a tuple: () would be no arguments


def sum_event(x: Tensor, event_ndim: int) -> Tensor:
    """Sums the last `event_ndim` dimensions: (*B, *event) to (*B,)."""
    return x.sum(dim=tuple(range(-event_ndim, 0))) if event_ndim else x


def expand_right(t: Tensor, x: Tensor) -> Tensor:
    """Appends dimensions of size one to t, of shape () or (*B,), until it multiplies x of shape (*B, *event)."""
    return t.reshape(*t.shape, *(1,) * (x.ndim - t.ndim)) if t.ndim else t
