"""The times a loss shows its network: one a sample, in range, and over all calls as they should be distributed."""

from __future__ import annotations

import math

import torch
from scipy import stats
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.vocabulary.chance import FALSE_FAILURE
from autograder.vocabulary.laws import TAIL
from autograder.vocabulary.recorded import Records, told
from autograder.vocabulary.tensors import as_double, assert_real, dtype_name

FEWEST = 100.0  # times expected of the rarest index: antithetic pairs halve it


def assert_covers_times(
    times: Records | Tensor,
    *,
    steps: int | None = None,
    interval: tuple[float, float] | None = None,
    values: Tensor | None = None,
    where: int | str = 1,
    false_failure: float = FALSE_FAILURE,
    what: str = "the time",
) -> Tensor:
    """Times are uniform over 0 … steps − 1, over an interval, or over given values; one for each sample of a batch.

    Antithetic and stratified times pass: pairs double χ² and the squared distance at most, so χ² is halved, and the
    bound on the distance is taken for half the number. A right answer fails with probability at most `false_failure`.

    Args:
        times: `records(recorder)`, or the times of one call, shape (B,).
        steps: whole numbers in an integer dtype, as indices are; a hundred samples for each are needed.
        interval: real numbers.
        values: levels of noise for example, shape (L,), different from each other; likewise.
        where: position or name of the time among the arguments.

    Returns:
        all times, shape (N,).
    """
    if sum(q is not None for q in (steps, interval, values)) != 1:
        raise AuthorError("say one of `steps`, `interval` and `values`")
    calls = [assert_real(times, what)] if isinstance(times, Tensor) else _times_of(times, where, what)
    for t in calls:
        if t.dim() != 1 or len(t) == 0:
            raise Wrong(f"{what} should be one a sample, shape (B,), got {tuple(t.shape)}")
        if bool((t == t[0]).all()) and _many(steps, values, len(t)):
            raise Wrong(
                f"all {len(t)} samples of a batch share one {what.removeprefix('the ')}, each should have its own"
            )
    drawn = torch.cat(calls)
    if interval is not None:
        _assert_interval(drawn, interval, false_failure, what)
    elif steps is not None:
        assert_known_time(drawn, steps=steps, what=what)
        _assert_counts(torch.bincount(drawn.long(), minlength=steps), false_failure, what, "index")
    elif values is not None:
        _assert_levels(drawn, as_double(values), false_failure, what)
    return drawn


def _times_of(records: Records, where: int | str, what: str) -> list[Tensor]:
    found = told(records, where, what)
    for record, t in zip(records, found, strict=True):
        points = told([record], 0, "points")[0]
        if t.shape != points.shape[:1]:
            raise Wrong(
                f"{what} that the network is asked with should be one a sample, shape {tuple(points.shape[:1])}, "
                f"got {tuple(t.shape)}"
            )
    return found


def _many(steps: int | None, values: Tensor | None, n: int) -> bool:
    """Whether n equal draws do not happen by chance, not even as n/2 antithetic pairs of the middle index."""
    outcomes = steps if steps is not None else len(values) if values is not None else 2**24
    return (n / 2 - 1) * math.log(outcomes) > 30


def assert_known_time(
    t: Tensor, *, steps: int | None = None, interval: tuple[float, float] | None = None, what: str = "the time"
) -> None:
    """Times are indices 0 … steps − 1 of an integer dtype, or lie in an interval: so a table can be read at them."""
    if steps is not None:
        if t.is_floating_point() or t.dtype == torch.bool:
            raise Wrong(f"{what} is an index and should have dtype int64, got {dtype_name(t.dtype)}")
        interval = (0, steps - 1)
    low, high = interval or (-math.inf, math.inf)
    if not bool(((t >= low) & (t <= high)).all()):
        where = f"0 … {steps - 1}" if steps is not None else f"[{low:g}, {high:g}]"
        raise Wrong(f"{what} should lie in {where}, it goes from {float(t.min()):.4g} to {float(t.max()):.4g}")


def _assert_levels(drawn: Tensor, values: Tensor, false_failure: float, what: str) -> None:
    gap = (as_double(drawn)[:, None] - values).abs()  # (N, L)
    strange = ~(gap.min(1).values <= 1e-6 * values.abs().max())
    if bool(strange.any()):
        raise Wrong(f"{what} is none of the {len(values)} levels for {int(strange.sum())} of {len(drawn)} samples")
    _assert_counts(torch.bincount(gap.argmin(1), minlength=len(values)), false_failure, what, "level")


def _assert_counts(counts: Tensor, false_failure: float, what: str, kind: str) -> None:
    expected = float(counts.sum()) / len(counts)
    if expected < FEWEST:
        raise Wrong(f"the network saw {int(counts.sum())} samples, {FEWEST * len(counts):g} are needed to judge {what}")
    never = [int(k) for k in (counts == 0).nonzero().flatten()]
    if never:
        raise Wrong(f"{what} is never {kind} {never[0]} in {int(counts.sum())} samples ({len(never)} of {len(counts)})")
    statistic = float(((counts - expected) ** 2 / expected).sum()) / 2  # halved: antithetic pairs double it
    most = float(stats.chi2.isf(false_failure / TAIL, len(counts) - 1)) if len(counts) > 1 else math.inf
    if not statistic <= most:
        worst = int((counts - expected).abs().argmax())
        raise Wrong(
            f"{what} is not uniform: {kind} {worst} occurs {float(counts[worst]) / expected:.3g} times as often as it "
            f"should, ½χ² = {statistic:.1f}, at most {most:.1f} is accepted"
        )


def _assert_interval(drawn: Tensor, interval: tuple[float, float], false_failure: float, what: str) -> None:
    low, high = interval
    assert_known_time(drawn, interval=interval, what=what)
    t = ((as_double(drawn) - low) / (high - low)).clamp(0, 1)
    distance = float(stats.kstest(t.numpy(), "uniform").statistic)
    bound = math.sqrt(math.log(2 / false_failure) / len(t))  # that of half the number
    if not distance <= bound:
        raise Wrong(
            f"{what} is not uniform on [{low:g}, {high:g}]: largest distance between distribution functions "
            f"{distance:.3f}, at most {bound:.3f} is accepted for {len(t)} samples"
        )
