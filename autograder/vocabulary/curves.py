"""Where a function is least, and in what it is affine, seen from its values alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from autograder.errors import AuthorError, Wrong
from autograder.vocabulary.tensors import as_double, assert_finite, assert_real, tolerance_of
from autograder.vocabulary.words import in_words

STEPS = {torch.float64: 1e-3, torch.float32: 0.1}  # rounding costs 1e-10, resp. 1e-5 of the curvature at these
ACCEPTED = {torch.float64: 1e-4, torch.float32: 1e-2}


def assert_minimised_at(
    fn: Callable[[Tensor], Any],
    at: Tensor | float,
    *,
    step: float | None = None,
    atol: float | None = None,
    strictly: bool = True,
    directions: int = 8,
    generator: Generator | None = None,
    what: str = "the function",
    point: str = "the point asked about",
) -> None:
    """A function of one tensor has a minimum where theory puts it. For a maximum hand over its negative.

    Along each direction d the values at `at` ± step · d and at `at` give slope and curvature: no step may go down, the
    curvature must be positive, and the parabola through the three must be least within `atol` of `at`. Directions are
    the coordinates of a small tensor, and random ones.

    Args:
        fn: gives one number; deterministic, or with random numbers fixed by a seed. Close over everything else.
        at: float64 by preference.
        step: 1e-3 in float64. Larger where the function is an average over draws, and then `atol` with it.
        atol: how far off the least point may lie along a direction, as a length; 1e-4 in float64.
        strictly: False where rightly nothing changes along some directions, as for a rotation of factors: then no
            step may go down by more than rounding, and no place is asked for.
        point: named in the message.
    """
    centre = torch.as_tensor(at, dtype=None if isinstance(at, Tensor) else torch.float64)
    size = STEPS.get(centre.dtype, 0.1) if step is None else step
    accepted = ACCEPTED.get(centre.dtype, 1e-2) if atol is None else atol
    if not centre.is_floating_point() or centre.numel() == 0 or not size > 0 or directions < 1:
        raise AuthorError("a minimum is looked for at a floating tensor with a positive step, along directions")
    here = _number(fn, centre, what)
    rounding = 8 * torch.finfo(centre.dtype).eps * max(abs(here), 1.0)
    for direction in _directions(centre, directions, generator):
        up, down = (_number(fn, centre + sign * size * direction, what) for sign in (1, -1))
        drop = here - min(up, down)
        curvature = up + down - 2 * here
        if strictly and not curvature > rounding:
            raise Wrong(
                f"{what} should have a minimum at {point}: along a direction it does not curve upwards there "
                f"(asked at {in_words(centre)}, a step of {size:g} to either side)"
            )
        offset = abs(size * (down - up) / (2 * curvature)) if strictly else 0.0
        if not offset <= accepted or (not strictly and not drop <= rounding):
            how = f"is least about {offset:.2g} away from there" if strictly else f"falls by {drop:.2g} beside it"
            raise Wrong(
                f"{what} should have its minimum at {point}, but {how} "
                f"(asked at {in_words(centre)}, a step of {size:g} to either side)"
            )


def _number(fn: Callable[[Tensor], Any], x: Tensor, what: str) -> float:
    value = assert_real(fn(x.clone()), what)
    if value.dim() != 0:
        raise Wrong(f"{what} should give one number, a tensor of shape (), got shape {tuple(value.shape)}")
    return float(value)


def _directions(centre: Tensor, count: int, generator: Generator | None) -> list[Tensor]:
    random = [torch.randn(centre.shape, generator=generator, dtype=torch.float64) for _ in range(count)]
    units = [(d / d.norm().clamp_min(1e-300)).to(centre.dtype) for d in random]
    if centre.numel() > count:
        return units
    axes = torch.eye(centre.numel(), dtype=centre.dtype).reshape(-1, *centre.shape)
    return [*axes, *units[: 0 if centre.numel() == 1 else count]]


def assert_affine_in(
    fn: Callable[[Any], Any],
    start: Tensor | float,
    end: Tensor | float,
    *,
    at: Sequence[float] = (-0.5, 0.3, 2.0),
    depends: bool = True,
    rtol: float | None = None,
    what: str = "the result",
    argument: str = "the argument",
) -> None:
    """A function is affine in its argument: between and beyond two values it keeps to the line through them.

    Args:
        fn: of one number or tensor; deterministic. Close over everything else.
        start, end: two different values of the argument.
        at: how far along from `start` (0) to `end` (1) is asked; outside of [0, 1] too, where a clamp shows.
        depends: the result must differ between both ends: a constant is affine as well.
        rtol: accepted error relative to the largest result; the tolerance of its dtype by default.
    """
    if bool((torch.as_tensor(start) == torch.as_tensor(end)).all()):
        raise AuthorError("two different values of the argument are needed")
    first, last = (assert_real(fn(value), what) for value in (start, end))
    if first.shape != last.shape or first.numel() == 0:
        raise Wrong(f"{what} has shape {tuple(first.shape)} at one value of {argument}, {tuple(last.shape)} at another")
    accepted = tolerance_of(first.dtype).rtol if rtol is None else rtol
    a, b = as_double(first), as_double(last)
    size = max(float(a.abs().max()), float(b.abs().max()), 1e-300)
    if depends and not float((b - a).abs().max()) > 10 * accepted * size:
        raise Wrong(f"{what} does not depend on {argument}: it is the same for {in_words(start)} and {in_words(end)}")
    for share in at:
        value = start + share * (end - start)
        got = assert_finite(fn(value), what)
        if got.shape != first.shape:
            raise Wrong(f"{what} has another shape for {argument} = {in_words(value)}: {tuple(got.shape)}")
        error = float((as_double(got) - (a + share * (b - a))).abs().max()) / size
        if not error <= accepted * (1 + 2 * abs(share)):
            raise Wrong(
                f"{what} is not affine in {argument}: at {in_words(value)} it leaves the line through its values at "
                f"{in_words(start)} and {in_words(end)} by {error:.2g} of its size"
            )
