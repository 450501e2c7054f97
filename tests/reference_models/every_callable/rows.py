"""Rows of the two tests over every public callable: how to call it, and another value for each of its keywords.

    Row("flows.maf.MAF", lambda **k: log_prob(MAF(3, **k)), bound=0.1, layers=With(2, hidden=(4,)))

`run` takes keywords of the callable and gives an answer. A callable may have several rows, each for the keywords that
its inputs make visible: a schedule of one β hides the order of the β, a weight of zero hides everything.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MODELS = Path(__file__).resolve().parents[3] / "reference_models"
APART = ("recipes", "__main__", "__init__")  # recipes are run by tests of their own


class With:
    """A keyword's other value, tried while further keywords have the values `given`."""

    def __init__(self, value: Any, **given: Any) -> None:
        self.value, self.given = value, given


class Row:
    """A callable of `reference_models`, by its name there, a way to call it, and other values of its keywords.

    drawn: whether the generator decides the answer; False where the draws are averaged out.
    """

    def __init__(self, name: str, run: Callable[..., Any], *, drawn: bool = True, **values: Any) -> None:
        self.name, self.run, self.drawn = name, run, drawn
        self.values = {key: v if isinstance(v, With) else With(v) for key, v in values.items()}


def gen(seed: int = 0) -> torch.Generator:
    """A generator in a state of its own."""
    return torch.Generator().manual_seed(seed)


def built(make: Callable[..., Any], *args: Any, scale: float = 0.3, **options: Any) -> Any:
    """What `make` builds, its parameters moved away from initialisation, whatever the global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = make(*args, **options)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(scale * torch.randn_like(parameter))
    return module


def fixed(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, the same each time."""
    return torch.randn(shape, generator=gen(seed), dtype=torch.float64)


def bits(*shape: int, seed: int = 0) -> Tensor:
    """Zeros and ones as floats, the same each time."""
    return (fixed(*shape, seed=seed) > 0).double()


# --- what there is


def callables(folder: str) -> dict[str, Callable[..., Any]]:
    """The functions, constructors and methods of a folder's public names, by their names below `reference_models`."""
    files = (MODELS / folder).glob("*.py") if (MODELS / folder).is_dir() else [MODELS / f"{folder}.py"]
    found: dict[str, Callable[..., Any]] = {}
    for file in sorted(files):
        if file.stem.startswith(APART):
            continue
        short = ".".join(file.relative_to(MODELS).with_suffix("").parts)
        module = importlib.import_module(f"reference_models.{short}")
        for name, value in vars(module).items():
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
                found |= {f"{short}.{key}": f for key, f in _of(name, value)}
    return found


def _of(name: str, value: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    if inspect.isfunction(value):
        yield name, value
    elif inspect.isclass(value) and not getattr(value, "_is_protocol", False):
        for key, part in vars(value).items():
            function = getattr(part, "__func__", part)
            public = not key.startswith("_") or key in ("__init__", "__call__")
            if public and inspect.isfunction(function) and not getattr(function, "__isabstractmethod__", False):
                yield name if key == "__init__" else f"{name}.{key}", function


def keywords(function: Callable[..., Any]) -> list[str]:
    """The parameters that have a default, but for the generator."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.default is not inspect.Parameter.empty and p.name != "generator"]


def defaults(function: Callable[..., Any]) -> str:
    """The parameters that have a default, with what it is; numbers, words and names alone."""

    def said(value: Any) -> str:
        if isinstance(value, bool | int | float | str | tuple | type(None)):
            return repr(value)
        return getattr(value, "__name__", type(value).__name__)

    return ", ".join(f"{key}={said(inspect.signature(function).parameters[key].default)}" for key in keywords(function))


def draws(function: Callable[..., Any]) -> bool:
    """Whether it takes a source of randomness. A module called `generator`, as in a GAN, is none."""
    parameter = inspect.signature(function).parameters.get("generator")
    return parameter is not None and re.search(r"(^|\.)Generator\b", str(parameter.annotation)) is not None


# --- answers


def flat(answer: Any) -> list[Any]:
    """Everything an answer says, as tensors and plain values."""
    if isinstance(answer, Tensor):
        return [answer.detach().clone()]
    if isinstance(answer, nn.Module):
        return [repr(answer), *flat(answer.state_dict())]
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        return [part for field in dataclasses.fields(answer) for part in flat(getattr(answer, field.name))]
    if isinstance(answer, Mapping):
        return [part for key, value in answer.items() for part in (key, *flat(value))]
    if isinstance(answer, list | tuple):
        return [len(answer), *(part for value in answer for part in flat(value))]
    if isinstance(answer, Iterator | range):
        return flat(list(answer))
    if isinstance(answer, bool | int | float | str | torch.dtype | torch.device | np.floating | type(None)):
        return [answer]
    if callable(answer):
        return [getattr(answer, "__name__", type(answer).__name__)]
    return [part for _, value in sorted(vars(answer).items()) for part in flat(value)]


def same(one: Any, other: Any) -> bool:
    """Whether two answers agree in shape, type and value, but for rounding: a linear solver need not repeat it."""
    a, b = flat(one), flat(other)
    return len(a) == len(b) and all(map(_equal, a, b))


def _equal(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        return (
            a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, rtol=1e-10, atol=1e-13, equal_nan=True)
        )
    return math.isclose(a, b, rel_tol=1e-10) if isinstance(a, float) else bool(a == b)


def undefined(part: Any) -> bool:
    """Whether a part of an answer is NaN, or holds one."""
    return bool((part != part).any()) if isinstance(part, Tensor) else part != part
