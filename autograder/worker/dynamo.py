"""Keeps `torch._dynamo` away until somebody needs it.

The first optimizer imports all of torch's compiler, nearly a CPU second, only to tell it that there is nothing to
compile. A stand-in answers those two calls; anything else asked of it loads the real module in its place.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

NAME = "torch._dynamo"


class _StandIn(ModuleType):
    def graph_break(self, msg: str = "") -> None:
        """What an optimizer's step says to a compiler that is not there."""

    def disable(self, fn: Callable[..., Any] | None = None, recursive: bool = True, **options: Any) -> Any:
        """Marks a function as not to be compiled, which it is not."""
        return fn if fn is not None else self.disable

    def __getattr__(self, name: str) -> Any:
        if name in ("__file__", "__cached__", "__wrapped__"):  # asked of every module, by `inspect` and `warnings`
            raise AttributeError(name)
        if sys.modules.get(NAME) is self:
            del sys.modules[NAME]
        return getattr(importlib.import_module(NAME), name)


def postpone() -> None:
    """Puts the stand-in where `import torch._dynamo` finds it, unless the real one is there already."""
    if NAME not in sys.modules:
        stand_in = _StandIn(NAME)
        sys.modules[NAME] = stand_in
        torch.__dict__["_dynamo"] = stand_in
