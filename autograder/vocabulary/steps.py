"""What a training step moves, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.student import call, is_module, parameters
from autograder.vocabulary.tensors import assert_finite


def assert_step_changes_only(
    step: Callable[..., Any],
    *args: Any,
    changes: Mapping[str, Any],
    keeps: Mapping[str, Any] | None = None,
    share: float = 1.0,
    seed: int | None = 0,
    what: str = "the step",
    **kwargs: Any,
) -> Any:
    """A step moves the parameters of some modules and leaves those of others as they were, bit by bit.

    Buffers are not compared: batch normalisation counts what passes through a network that is not trained, too. The
    modules stay as the step left them. Weights whose gradient is rightly zero at the start hide a missing update:
    perturb them first.

    Args:
        step: called once with `args`; it may call `backward` and step optimisers.
        changes: modules by the name the message gives them; each parameter tensor must move and stay finite.
        keeps: modules of which no parameter may move.
        share: of the parameter tensors of each changed module that must move, where some rightly stay.

    Returns:
        what the step returned.
    """
    kept = dict(keeps or {})
    if not {**changes, **kept} or changes.keys() & kept.keys():
        raise AuthorError("name each module once, under `changes` or `keeps`")
    if not all(is_module(module) for module in [*changes.values(), *kept.values()]):
        raise AuthorError("`changes` and `keeps` hold modules by name")
    before = {name: parameters(module) for name, module in {**changes, **kept}.items()}
    if any(not before[name] for name in changes):
        raise Wrong("a module that should train has no parameters")
    result = call(step, *args, seed=seed, grad=True, **kwargs)
    for name, module in kept.items():
        moved = _moved(before[name], parameters(module), name, what)
        if moved:
            said = f"{what} changes {name}, which it should leave alone"
            raise Wrong(f"{said}: {len(moved)} of {len(before[name])} parameters moved ({_listing(moved)})", plain=said)
    for name, module in changes.items():
        after = parameters(module)
        moved = _moved(before[name], after, name, what)
        for value in after.values():
            assert_finite(value, f"after {what} each parameter of {name}")
        still = [parameter for parameter in after if parameter not in moved]
        if not len(moved) >= share * len(after) or not moved:
            said = f"{what} should change {name}, but some of its parameters are as before"
            count = f"{len(still)} of {len(after)} parameters are as before ({_listing(still)})"
            raise Wrong(f"{what} should change {name}, but {count}", plain=said)  # names came out of the sandbox
    return result


def _moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor], name: str, what: str) -> list[str]:
    """Names of the parameters that are others; those of a module that lost or renamed some can not be compared."""
    shapes = [{key: value.shape for key, value in side.items()} for side in (before, after)]
    if shapes[0] != shapes[1]:
        raise Wrong(f"{what} gives {name} other parameters than it had: names or shapes differ")
    return [key for key in after if not _same(before[key], after[key])]


def _same(a: Tensor, b: Tensor) -> bool:
    both = [value.detach().cpu().to(torch.complex128 if value.is_complex() else torch.float64) for value in (a, b)]
    return a.dtype == b.dtype and bool(((both[0] == both[1]) | (both[0].isnan() & both[1].isnan())).all())


def _listing(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
