"""What the constructors build, on paper: layers, sizes, heads, activations and dropout, beside papers.txt.

    python -m tests.reference_models.papers        writes papers.txt anew: a change there changes a paper's model

The numbers of parameters that papers print are tested beside each model; many mistakes leave them as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

WRITTEN = Path(__file__).with_name("papers.txt")
HOLDERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, ParametrizationList)
PLAIN = bool | int | float | str | None


def described(name: str, make: Callable[[], Any]) -> str:
    """A heading and a line for each kind of part with what it was built with, and how often it occurs."""
    made = make()
    parts = made.modules() if isinstance(made, nn.Module) else [made]
    found = Counter(f"{type(part).__name__}({settings(part)})" for part in parts if not isinstance(part, HOLDERS))
    return "\n".join([f"== {name}", *(f"{n} {kind}" for kind, n in found.items())]) + "\n"


def settings(part: Any) -> str:
    """What torch says of its own layers; of ours, attributes that are numbers or words, and the shapes of weights."""
    if type(part).__module__.startswith("torch."):
        return part.extra_repr()
    plain = [f"{key}={value}" for key, value in vars(part).items() if not key.startswith("_") and is_plain(value)]
    weights = [(key, value) for key, value in getattr(part, "_parameters", {}).items() if value is not None]
    shapes = [f"{key} {'×'.join(map(str, value.shape)) or 'number'}" for key, value in weights]
    return ", ".join(one for one in (*plain, *shapes) if not one.startswith("training="))


def is_plain(value: Any) -> bool:
    if isinstance(value, torch.Size | tuple):
        return all(is_plain(part) for part in value)
    return isinstance(value, PLAIN)


def everything() -> str:
    """The descriptions of all constructors, in the order of their names."""
    from tests.reference_models.test_constructors import BUILDERS

    torch.set_default_dtype(torch.float64)
    return "\n".join(described(name, make) for name, make in sorted(BUILDERS.items()))


if __name__ == "__main__":
    WRITTEN.write_text(everything())
