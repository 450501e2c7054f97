"""Noise that should be standard normal and independent, and chains whose every step is normal with a known law.

All tests have exact laws under the null hypothesis (normal and χ² tails, the Dvoretzky–Kiefer–Wolfowitz–Massart bound),
so by Bonferroni a right answer fails with probability at most `false_failure`, at any size:

- mean and variance of each entry over the samples;
- the sum over the entries of a sample: noise shared by the entries has the right law in each of them, not in the sum;
- the product of the first half of a batch with the second, and of each second call with the one before: noise that is
  used twice;
- the distribution function of all entries: noise that is ±1, or uniform.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.vocabulary.chance import FALSE_FAILURE
from autograder.vocabulary.tensors import argmax_index, as_double, assert_rows, assert_shape, tolerance_of


def assert_standard_normal(
    noise: Any | Sequence[Any], *, false_failure: float = FALSE_FAILURE, what: str = "the noise"
) -> None:
    """Independent standard normal numbers in every entry, sample and call.

    Args:
        noise: (N, *shape), or a list of such of one shape, one a call.
        false_failure: largest probability of failing such numbers.
    """
    calls = list(noise) if isinstance(noise, list | tuple) else [noise]
    if not calls:
        raise Wrong(f"{what} is missing: nothing was drawn")
    first = assert_rows(calls[0], None, what)
    z = torch.stack([assert_rows(call, first.shape[1:], what) for call in _equal_sizes(calls, first, what)])
    shape, z = z.shape[2:], z.flatten(2) if z.dim() > 2 else z.unsqueeze(2)  # (K, N, D)
    n_tests = 5 + 2 * z.shape[2]
    hint = _what_is_shared(z)
    _assert_entries(z, shape, false_failure / n_tests, what, hint)
    _assert_independent(z, false_failure / n_tests, what, hint)
    distance = float(stats.kstest(z.flatten().numpy(), "norm").statistic)
    bound = math.sqrt(math.log(2 * n_tests / false_failure) / (2 * z.numel()))
    if not distance <= bound:
        raise Wrong(
            f"{what} is not standard normal: largest distance between distribution functions {distance:.3f}, "
            f"at most {bound:.3f} is accepted for {z.numel()} numbers",
            hint=hint,
        )


def _equal_sizes(calls: list[Any], first: Tensor, what: str) -> list[Any]:
    for number, call in enumerate(calls, 1):
        if assert_rows(call, first.shape[1:], what).shape != first.shape:
            raise Wrong(f"{what} has another number of samples in call {number}: {len(call)} after {len(first)}")
    return calls


def _assert_independent(z: Tensor, level: float, what: str, hint: str | None) -> None:
    """Sums over entries, and products of halves and of calls."""
    calls, n, entries = z.shape
    if entries > 1:
        ratio = float(z.sum(2).square().sum() / (entries * calls * n))
        low, high = (float(q) / (calls * n) for q in chi2_interval(level, calls * n))
        if not low <= ratio <= high:
            raise Wrong(
                f"{what} is not independent from entry to entry of a sample: the sum over the entries varies "
                f"{ratio:.3g} times as much as it should, {low:.3g} to {high:.3g} is accepted over {calls * n} samples",
                hint=hint,
            )
    pairs = {"the first half of a batch and the second are": (z[:, : n // 2], z[:, n // 2 : 2 * (n // 2)])}
    if calls > 1:
        pairs["one call and the next are"] = (z[: calls // 2 * 2 : 2], z[1 : calls // 2 * 2 : 2])
    for who, (a, b) in pairs.items():
        score = float((a * b).sum() / a.square().sum().sqrt())
        most = float(stats.norm.isf(level / 2))
        if not abs(score) <= most:
            raise Wrong(
                f"{what} is not independent: {who} correlated by {abs(score):.1f} standard errors, "
                f"at most {most:.1f} are accepted",
                hint=hint,
            )


def _assert_entries(z: Tensor, shape: torch.Size, level: float, what: str, hint: str | None) -> None:
    """Mean and variance of each entry of a sample, over samples and calls."""
    n = z.shape[0] * z.shape[1]
    score = z.sum((0, 1)).reshape(shape) / math.sqrt(n)
    most = float(stats.norm.isf(level / 2))
    if not bool((score.abs() <= most).all()):
        index = argmax_index(score.abs())
        raise Wrong(
            f"{what} has a mean that is not 0: {float(score[index]) / math.sqrt(n):.3g}{at_index(index)}, "
            f"{float(score[index].abs()):.1f} standard errors, at most {most:.1f} are accepted over {n} samples",
            hint=hint,
        )
    ratio = z.square().sum((0, 1)).reshape(shape) / n
    low, high = (float(q) / n for q in chi2_interval(level, n))
    if not bool(((ratio >= low) & (ratio <= high)).all()):
        index = argmax_index(ratio.log().abs())
        raise Wrong(
            f"{what} has the wrong variance: {float(ratio[index]):.3g} times what it should be{at_index(index)}, "
            f"{low:.3g} to {high:.3g} is accepted over {n} samples",
            hint=hint,
        )


@lru_cache(maxsize=256)
def chi2_interval(level: float, df: int) -> tuple[float, float]:
    """Between these χ² with `df` degrees lies with probability 1 − level, half of it on either side."""
    return float(stats.chi2.ppf(level / 2, df)), float(stats.chi2.isf(level / 2, df))


def _what_is_shared(z: Tensor) -> str | None:
    """The one plain fact about noise that is not fresh everywhere."""
    same = 1e-4
    facts = {
        "all samples of a batch have the same noise": z.shape[1] > 1 and bool((z - z[:, :1]).abs().max() < same),
        "all entries of a sample have the same noise": z.shape[2] > 1 and bool((z - z[..., :1]).abs().max() < same),
        "every call or step has the same noise": z.shape[0] > 1 and bool((z - z[:1]).abs().max() < same),
        "the noise is 0 everywhere": bool(z.abs().max() < same),
    }
    true = [fact for fact, holds in facts.items() if holds]
    return true[-1] if true else None


def assert_steps_follow(
    states: Sequence[Any],
    slope: Sequence[Tensor | float],
    offset: Sequence[Tensor | float],
    noise: Sequence[Tensor | float],
    *,
    false_failure: float = FALSE_FAILURE,
    what: str = "the sampler",
) -> None:
    """Each step of a chain is x_{k+1} = slope_k x_k + offset_k + noise_k ε with fresh standard normal ε.

    The law at the end hides what the law of a step shows: another step size, a step too few, a level handed over.

    Args:
        states: x_0, …, x_K, each (N, *shape): what a recorder saw of a network asked once a step, and the result.
        slope, offset, noise: K entries, numbers or the shape of a sample; noise_k = 0 is asked exactly.
        false_failure: largest probability of failing a right chain.
    """
    if not len(slope) == len(offset) == len(noise):
        raise AuthorError(f"one entry a step: got {len(slope)} slopes, {len(offset)} offsets and {len(noise)} noises")
    if len(states) != len(slope) + 1:
        raise Wrong(f"{what} asks its network {len(states) - 1} times, expected {len(slope)}: once a step")
    first = assert_rows(states[0], None, f"the start of {what}")
    _assert_fits(first, [*slope, *offset, *noise], what)
    points = [as_double(assert_shape(x, first.shape, f"what {what} asks its network about")) for x in states]
    if any(0 < int((torch.as_tensor(s) != 0).sum()) < torch.as_tensor(s).numel() for s in noise):
        raise AuthorError("a step adds noise to every entry of a sample or to none")
    drawn = sum(bool((torch.as_tensor(s) != 0).all()) for s in noise)
    rest = []
    for k, step in enumerate(zip(slope, offset, noise, strict=True)):
        a, b, s = (torch.as_tensor(q, dtype=torch.float64) for q in step)
        name = f"step {k + 1} of {len(slope)} of {what}"
        gap = points[k + 1] - (a * points[k] + b)
        if not bool((s != 0).all()):
            tolerance = tolerance_of(torch.as_tensor(states[k + 1]).dtype)
            _assert_no_noise(points[k + 1], gap, tolerance.atol + tolerance.rtol * float(points[k].abs().max()), name)
            continue
        rest.append(gap / s)
        assert_standard_normal(
            rest[-1], false_failure=false_failure / (drawn + 1), what=f"{name}, less its exact mean and scaled,"
        )
    if len(rest) > 1:
        assert_standard_normal(rest, false_failure=false_failure / (drawn + 1), what=f"the noise of {what}")


def _assert_fits(x: Tensor, numbers: Sequence[Tensor | float], what: str) -> None:
    """The samples have the shape that the law is known for."""
    for q in numbers:
        shape = torch.as_tensor(q).shape
        if shape and shape != x.shape[1:]:
            raise Wrong(
                f"the start of {what} should have shape (N, {', '.join(map(str, shape))}), got {tuple(x.shape)}"
            )


def _assert_no_noise(end: Tensor, gap: Tensor, accepted: float, name: str) -> None:
    error = gap.abs().nan_to_num(nan=math.inf)
    if not float(error.max()) <= accepted:
        index = argmax_index(error)
        raise Wrong(
            f"{name} should add no noise and land on a known point: off by {float(error[index]):.3g}{at_index(index)}"
            f" (typical size {float(end.abs().mean()):.3g}, accepted error {accepted:.1g})"
        )


def at_index(index: tuple[int, ...]) -> str:
    """Where in a sample an error is worst; nothing for a number."""
    return f" at entry {index}" if index else ""
