"""What a call leaves behind: arguments changed in place, gradient graphs, gradients in a network.

A worker that a notebook has patched may say that nothing is left. So these properties are not only asked but also
provoked: a kept argument is used again, and a step of an optimiser moves the weights of a network if a gradient stands
in it. Who hides a trace from that has to remove it, which is what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from autograder.errors import StudentFault, Wrong
from autograder.student import (
    Handle,
    Mode,
    as_handle,
    call,
    call_with_echo,
    keep,
    load_state_dict,
    optimiser,
    part_of,
    parts_with_graph,
    probe_beside,
    records,
    signature,
    state_dict,
)
from autograder.vocabulary.tensors import as_double

LOOKED_AT = 100  # parts of a list or tuple
RATE = 0.5  # of the optimiser's step; any gradient moves a weight by much more than rounding


def assert_unchanged_arguments(
    fn: Callable[..., Any], *args: Any, what: str = "the function", seed: int | None = 0, **kwargs: Any
) -> Any:
    """A call leaves the tensors it is given as they were. Returns the result of the call.

    Seen three times: in what the worker says of the arguments after the call, in what a recorder is shown of arguments
    that were kept and used, and in the answer to a second call on the same kept arguments under the same seed.
    """
    fn = as_handle(fn)
    result, after = call_with_echo(fn, *args, seed=seed, **kwargs)
    _compare(fn, args, after, what)
    kept = [keep(probe_beside(fn, "Same"), value) if isinstance(value, Tensor) else value for value in args]
    once = call(fn, *kept, seed=seed, **kwargs)
    shown = [_shown(fn, now) if isinstance(old, Tensor) else now for old, now in zip(args, kept, strict=True)]
    _compare(fn, args, shown, what)
    again = call(fn, *kept, seed=seed, **kwargs)
    if _alike(result, once) and not _alike(once, again):
        number = next(position for position, value in enumerate(args, 1) if isinstance(value, Tensor))
        raise Wrong(
            f"{what} changes {_argument(fn, number)} or a later one in place: a second call on the same gives "
            "another answer; work on a copy (`x = x.clone()`)"
        )
    return result


def assert_no_graph(
    fn: Callable[..., Any],
    *args: Any,
    of: Any = None,
    seed: int | None = 0,
    mode: Mode | None = None,
    what: str = "the function",
    **kwargs: Any,
) -> Any:
    """Nothing that a call returns carries a graph, although gradients are being recorded. Returns the result.

    Every tensor of the result is looked at, in tuples, dictionaries and attributes too. What comes out of the sandbox
    never carries one, so this asks where the result still has its own; whether a gradient reaches a model's weights is
    `assert_no_gradient_reaches`.

    Args:
        of: the module among the arguments that a graph would lead to; then a backward pass is tried as well.
    """
    fn = as_handle(fn)
    found = parts_with_graph(fn, *args, seed=seed, mode=mode, **kwargs)
    value = call(fn, *args, seed=seed, mode=mode, **kwargs)
    if (
        not found
        and of is not None
        and _leads_to(of, keep(fn, *args, seed=seed, mode=mode, grad=True, **kwargs), value)
    ):
        found = ["a backward pass reaches the network"]
    if found:
        names = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        said = f"what {what} returns still carries the graph it was computed with"
        hint = "compute under `torch.no_grad()`, or `detach` what is returned"
        raise Wrong(f"{said} ({names})", hint=hint, plain=said)  # the names came out of the sandbox
    return value


def assert_leaves_no_gradient(
    fn: Callable[..., Any], *args: Any, of: Any, what: str = "the function", **kwargs: Any
) -> Any:
    """A call leaves no gradient in a module that had none. Returns the result of the call.

    Args:
        of: the module; gradients that it has are taken away.
    """
    fn, of = as_handle(fn), as_handle(of)
    _moves(of, state_dict(of))  # what was there before is nobody's doing
    before = state_dict(of)
    result = call(fn, *args, grad=True, **kwargs)
    if _moves(of, before):
        raise Wrong(f"{what} leaves a gradient in the network: an optimiser's step afterwards changes its weights")
    return result


def _argument(fn: Any, number: int) -> str:
    """An argument by its name, where that is known; `number` counts from 1."""
    found = signature(fn)
    names = [] if found is None else [p["name"] for p in found["parameters"]]
    return f"its argument `{names[number - 1]}`" if number <= len(names) else f"its argument {number}"


def _compare(fn: Any, before: Sequence[Any], after: Sequence[Any], what: str) -> None:
    for position, (old, now) in enumerate(zip(before, after, strict=True)):
        if not isinstance(old, Tensor):
            continue
        if not isinstance(now, Tensor) or now.shape != old.shape or now.dtype != old.dtype:
            place = f"{what} changes {_argument(fn, position + 1)} in place"
            raise Wrong(f"{place}: shape or dtype are others after the call")
        if not torch.equal(now.nan_to_num(nan=0.5), old.detach().cpu().nan_to_num(nan=0.5)):
            place = f"{what} changes {_argument(fn, position + 1)} in place"
            changed = int((as_double(now) != as_double(old)).sum())
            raise Wrong(
                f"{place}: {changed} of {old.numel()} values are others after the call; "
                "work on a copy (`x = x.clone()`)"
            )


def _shown(fn: Any, value: Handle) -> Any:
    """What a network is shown when it is called with a kept tensor."""
    recorder = probe_beside(fn, "Recorder")
    call(recorder, value)
    calls = records(recorder)
    return calls[0]["args"][0] if calls and calls[0]["args"] else None


def _leads_to(of: Any, kept: Handle, value: Any) -> bool:
    """Whether a backward pass from the tensors of a kept result leaves a gradient in a module."""
    of = as_handle(of)
    before = state_dict(of)
    for path in _places(value):
        with suppress(StudentFault):  # this is how a result without a graph answers
            call(keep(part_of(kept, path).sum, grad=True).backward, grad=True)
    return _moves(of, before)


def _alike(a: Any, b: Any) -> bool:
    """Equal as far as data goes and is looked at; objects of the sandbox are equal to anything."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.shape == b.shape and torch.equal(a.nan_to_num(0.5), b.nan_to_num(0.5))
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(_alike, a[:LOOKED_AT], b[:LOOKED_AT]))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a)
    return isinstance(a, Handle) or isinstance(b, Handle) or a == b


def _places(value: Any, path: tuple[int | str, ...] = ()) -> Iterator[tuple[int | str, ...]]:
    """Where the tensors of a result stand."""
    if isinstance(value, Tensor):
        yield path
    elif isinstance(value, list | tuple | dict):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(part, (*path, key))


def _moves(of: Any, before: dict[str, Tensor]) -> bool:
    """Whether a step of gradient descent changes a module's weights; they are put back, without the gradients."""
    call(optimiser(of, lr=RATE).step)
    after = state_dict(of)
    moved = after.keys() != before.keys() or any(not torch.equal(after[name], before[name]) for name in before)
    if moved:
        call(of.zero_grad)
        load_state_dict(of, before)
    return moved
