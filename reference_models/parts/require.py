"""Refusals at the door, declared where a value comes in: ValueError with the value in hand."""

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


def within(name: str, value: float | Tensor, low: float, high: float, ends: str = "[]") -> None:
    """Raises ValueError unless the number, or every entry of the tensor, lies between low and high.

    ends: whether they count, as in mathematics: "[]" both, "()" neither, "[)" and "(]" the one or the other.
    """
    above = value >= low if ends[0] == "[" else value > low
    below = value <= high if ends[1] == "]" else value < high
    place = f"must lie in {ends[0]}{low:g}, {high:g}{ends[1]}"
    if not isinstance(value, Tensor):
        if not (above and below):
            raise ValueError(f"{name} {place}, got {value}")
    elif not bool((torch.as_tensor(above) & torch.as_tensor(below)).all()):
        raise ValueError(f"every {name} {place}, got {_range(value)}")


def labels(y: Tensor, count: int) -> None:
    """Raises ValueError unless every label lies in 0..count − 1; none at all is allowed."""
    if y.numel() and not 0 <= int(y.min()) <= int(y.max()) < count:
        raise ValueError(f"every label must lie in 0..{count - 1}, got {_range(y)}")


def has_shape(name: str, x: Tensor, shape: Sequence[int | str]) -> None:
    """Raises ValueError unless x has this shape, a letter standing for any number: ("N", 3, 8, 8)."""
    fits = len(shape) == x.ndim and all(isinstance(n, str) or n == m for n, m in zip(shape, x.shape, strict=False))
    if not fits:
        wanted = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        raise ValueError(f"{name} must have shape ({wanted}), got {tuple(x.shape)}")


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


def one_of(name: str, value: object, choices: Collection[object]) -> None:
    """Raises ValueError unless the value is among the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def _range(value: Tensor) -> str:
    if value.numel() == 0:
        return "none at all"
    return f"values in [{float(value.min()):.6g}, {float(value.max()):.6g}]"
