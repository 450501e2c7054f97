"""Refusals at the door: ValueError with the value in hand."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor


def positive(name: str, value: float | Tensor) -> None:
    """Raises ValueError unless the number, or every entry of the tensor, is finite and above zero."""
    if isinstance(value, Tensor):
        if not bool(((value > 0) & torch.isfinite(value)).all()):
            raise ValueError(f"every {name} must be positive, got {_range(value)}")
    elif not 0 < value < float("inf"):
        raise ValueError(f"{name} must be positive, got {value}")


def at_least(name: str, value: float, minimum: float) -> None:
    """Raises ValueError unless value >= minimum."""
    if not value >= minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")


def open_unit(name: str, value: float | Tensor) -> None:
    """Raises ValueError unless the number, or every entry of the tensor, lies strictly between 0 and 1."""
    if isinstance(value, Tensor):
        if not bool(((value > 0) & (value < 1)).all()):
            raise ValueError(f"every {name} must lie in (0, 1), got {_range(value)}")
    elif not 0 < value < 1:
        raise ValueError(f"{name} must lie in (0, 1), got {value}")


def has_event_shape(name: str, x: Tensor, event_shape: Sequence[int]) -> None:
    """Raises ValueError unless x has shape (*event_shape) or (N, *event_shape)."""
    event = tuple(event_shape)
    extra = x.ndim - len(event)
    if extra not in (0, 1) or tuple(x.shape[extra:]) != event:
        wanted = ", ".join(map(str, event))
        raise ValueError(f"{name} must have shape ({wanted}) or (N, {wanted}), got {tuple(x.shape)}")


def ends_with(name: str, x: Tensor, event_shape: Sequence[int]) -> None:
    """Raises ValueError unless x has shape (*B, *event_shape), with any batch dimensions."""
    event = tuple(event_shape)
    if tuple(x.shape[max(0, x.ndim - len(event)) :]) != event:
        raise ValueError(f"{name} must have shape (*B, {', '.join(map(str, event))}), got {tuple(x.shape)}")


def binary(name: str, x: Tensor) -> None:
    """Raises ValueError unless every entry is zero or one."""
    if not bool(((x == 0) | (x == 1)).all()):
        raise ValueError(f"{name} must hold zeros and ones, got {_range(x)}")


def unit_interval(name: str, x: Tensor) -> None:
    """Raises ValueError unless every entry lies between 0 and 1, both included."""
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise ValueError(f"{name} must hold numbers from 0 to 1, got {_range(x)}")


def one_of(name: str, value: object, choices: Collection[object]) -> None:
    """Raises ValueError unless the value is among the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def _range(value: Tensor) -> str:
    if value.numel() == 0:
        return "none at all"
    return f"values in [{float(value.min()):.6g}, {float(value.max()):.6g}]"
