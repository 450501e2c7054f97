"""What a check asked with, in words, so that a message says on which input a property failed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from autograder.student import Handle, type_name
from autograder.vocabulary.tensors import dtype_name


def in_words(*args: Any) -> str:
    """Arguments as a student would name them: "a (64, 3) float64 tensor with values from -2.1 to 2.9 and 0.5"."""
    said = [_word(arg) for arg in args]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}" if said else "nothing"


def _word(value: Any) -> str:
    if isinstance(value, Tensor):
        return _tensor(value)
    if isinstance(value, Handle):
        return f"a `{type_name(value)}`"
    if isinstance(value, bool | int | str) or value is None:
        return repr(value)[:60]
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"a `{type(value).__name__}`"


def _tensor(value: Tensor) -> str:
    if value.dim() == 0:
        return f"{value.item():.4g}"
    kind = f"a {tuple(value.shape)} {dtype_name(value.dtype)} tensor"
    if value.numel() == 0 or value.is_complex() or not bool(torch.isfinite(value.detach()).all()):
        return kind
    low, high = (float(v) for v in value.detach().double().aminmax())
    return f"{kind} of {low:.3g} everywhere" if low == high else f"{kind} with values from {low:.3g} to {high:.3g}"
