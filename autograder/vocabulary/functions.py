"""Whether an answer is a function of what was asked, and a continuous one.

A model that looks things up answers by the place of a row in its batch, by the size of the batch, by the count of calls
or by a table. Rows asked again among strangers and in another order show the first three; a way between two questions,
halved again and again towards the longer jump, shows the last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.vocabulary.tensors import Tolerance, agree, as_double, assert_real, tolerance_of

FEW = 4  # rows


def assert_same_in_any_company(
    fn: Callable[..., Any],
    *args: Any,
    strangers: tuple[Tensor, ...] | None = None,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
    what: str = "the answer",
) -> None:
    """Each row gets the same answer in another order, in a smaller batch, among few, and among strangers.

    Args:
        fn: deterministic, one answer a row.
        args: tensors with the batch first, all of one batch size of at least 4; anything else is passed on as it is.
        strangers: other rows for the tensors among `args`, mixed in; without them the rows are asked twice over.
        generator: of the order.
        tolerance: relative to the typical size of the answer; that of the dtype where none is given.
    """
    tensors = [a for a in args if isinstance(a, Tensor) and a.dim() > 0]
    n = len(tensors[0]) if tensors else 0
    if n < 4 or any(len(a) != n for a in tensors):
        raise AuthorError("rows in another company need tensors of one batch size, at least 4")
    whole = _answers(fn, args, n, what)
    order = torch.randperm(n, generator=generator)
    others = tensors if strangers is None else list(strangers)
    extra = len(others[0])
    mixed = torch.randperm(n + extra, generator=generator)
    joined = [torch.cat([a, b.to(a.dtype)]) for a, b in zip(tensors, others, strict=True)]
    where = mixed.argsort()[:n]  # of our rows in the mixed batch
    companies = {
        "in another order": ([a[order] for a in tensors], order.argsort()),
        f"among {extra} others": ([a[mixed] for a in joined], where),
        **{f"in a batch of {m}": ([a[order[:m]] for a in tensors], None) for m in {n // 2, min(n // 2, FEW)}},
    }
    for words, (rows, back) in companies.items():
        found = _answers(fn, _filled(args, rows), len(rows[0]), what)
        expected = whole[order[: len(rows[0])]] if back is None else whole
        _assert_same(found if back is None else found[back], expected, f"{what} to a row", words, tolerance)


def _answers(fn: Callable[..., Any], args: tuple[Any, ...], n: int, what: str, row: torch.Size | None = None) -> Tensor:
    found = assert_real(fn(*args), what)
    if found.dim() == 0 or len(found) != n:
        raise Wrong(f"{what} should have one row for each of {n} rows, got shape {tuple(found.shape)}")
    if row is not None and found.shape[1:] != row:
        raise Wrong(f"{what} has another shape from call to call: {tuple(found.shape[1:])} after {tuple(row)}")
    return found


def _filled(args: tuple[Any, ...], rows: list[Tensor]) -> tuple[Any, ...]:
    left = iter(rows)
    return tuple(next(left) if isinstance(a, Tensor) and a.dim() > 0 else a for a in args)


def _assert_same(found: Tensor, expected: Tensor, what: str, words: str, tolerance: float | None) -> None:
    if found.shape != expected.shape:
        raise Wrong(f"{what} has another shape {words}: {tuple(found.shape[1:])} for {tuple(expected.shape[1:])}")
    a, b = as_double(found), as_double(expected)
    accepted = (tolerance or 10 * tolerance_of(found.dtype).rtol) * max(float(b.abs().mean()), 1e-12)
    if not agree(a, b, Tolerance(0.0, accepted)):
        error = (a - b).abs().flatten(1).max(1).values
        raise Wrong(
            f"{what} is another one {words}: {int((error > accepted).sum())} of {len(error)} rows differ, "
            f"by up to {float(error.max()):.3g} (accepted {accepted:.1g})"
        )


def assert_continuous(
    fn: Callable[[Tensor], Any],
    a: Tensor,
    b: Tensor,
    *,
    halvings: int = 20,
    jump: float = 0.1,
    share: float = 0.9,
    what: str = "the map",
) -> None:
    """Between most pairs of questions the answer makes no jump: found by bisection, in `halvings` calls.

    Each way from a to b is halved again and again, always keeping the half over which the answer moves farther. Over
    the millionth of the way that is left after twenty halvings a continuous map of moderate slope hardly moves, a table
    moves from one entry to another. A very steep continuous map counts as a jump, one that climbs over the whole way
    does not.

    Args:
        fn: of rows (B, *); deterministic.
        a, b: B pairs of questions.
        jump: the largest move that is none, in units of the answer.
        share: of the pairs that must make no jump.
    """
    if a.shape != b.shape or len(a) < 1:
        raise AuthorError("two sets of questions, row by row")
    left, right = a, b
    at_left = _answers(fn, (left,), len(a), what)
    row = at_left.shape[1:]
    at_right = _answers(fn, (right,), len(a), what, row)
    for _ in range(halvings):
        middle = (left + right) / 2
        at_middle = _answers(fn, (middle,), len(a), what, row)
        first = _moved(at_left, at_middle) >= _moved(at_middle, at_right)
        left, right = _where(first, left, middle), _where(first, middle, right)
        at_left, at_right = _where(first, at_left, at_middle), _where(first, at_middle, at_right)
    left_over = _moved(at_left, at_right)
    calm = int((left_over <= jump).sum())
    if not calm >= share * len(a):
        raise Wrong(
            f"{what} jumps: between {len(a) - calm} of {len(a)} pairs of inputs the output still moves by more than "
            f"{jump:g} over 1/{2**halvings} of the way, by up to {float(left_over.max()):.3g}; at most "
            f"{1 - share:.0%} of the pairs may"
        )


def _moved(a: Tensor, b: Tensor) -> Tensor:
    distance: Tensor = torch.linalg.vector_norm((as_double(a) - as_double(b)).reshape(len(a), -1), dim=1)
    return distance


def _where(first: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(first.reshape(-1, *[1] * (a.dim() - 1)), a, b)
