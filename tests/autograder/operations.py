"""Counts what a piece of work does, so that a test can say how it grows without looking at a clock.

`operations` counts Python's lines and, for calls of C, the length of the text they go through (a `str.replace` on a
text of n characters counts n). `Arithmetic` counts the numbers that torch computes; views of what is there are free.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

CHEAP = {"startswith", "endswith", "isidentifier", "__len__"}  # look at the ends of a text only


def operations(action: Callable[[], object]) -> int:
    """Lines of Python run by `action`, and characters gone through by what it calls in C."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal count
        if event == "c_call":
            count += 1 + _length(frame, arg)

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return count


def _length(frame: FrameType, function: Any) -> int:
    owner = getattr(function, "__self__", None)
    if isinstance(owner, (str, bytes)):
        return 0 if function.__name__ in CHEAP else len(owner)
    if isinstance(owner, re.Pattern):  # of its text only the caller knows
        return max((len(v) for v in frame.f_locals.values() if isinstance(v, (str, bytes))), default=0)
    return 0


class Arithmetic(TorchDispatchMode):
    """While it is on: how many numbers torch computes, in how many calls."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}
        self.calls += 1
        if isinstance(result, torch.Tensor) and result.untyped_storage().data_ptr() not in given:
            self.numbers += result.numel()
        return result
