"""Noise that should be fresh: how often right noise fails, and what is said of noise that is not."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from autograder.checks import assert_number, assert_standard_normal, assert_steps_follow
from autograder.errors import Wrong
from autograder.vocabulary.normal import chi2_interval
from tests.autograder.vocabulary.students import fails, generator

F64 = torch.float64


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=generator(seed))


def test_intervals_of_chi_square_hold_what_they_promise() -> None:
    for df in (2, 100, 20000):
        low, high = chi2_interval(1e-3, df)
        assert stats.chi2.cdf(low, df) == pytest.approx(5e-4, rel=1e-6)
        assert stats.chi2.sf(high, df) == pytest.approx(5e-4, rel=1e-6)


@pytest.mark.parametrize("shape", [(2,), (40,), (400, 3), (50, 1, 2, 2)])
@pytest.mark.parametrize("calls", [1, 2, 5])
def test_right_noise_fails_no_more_often_than_stated(shape: tuple[int, ...], calls: int) -> None:
    """At 5 % as well as at 1e-6, at every size: the bounds are exact, not asymptotic."""
    rate, runs, failed = 0.05, 120, 0
    for seed in range(runs):
        drawn = noise(calls, *shape, seed=seed)
        assert_standard_normal(list(drawn))
        try:
            assert_standard_normal(list(drawn), false_failure=rate)
        except Wrong:
            failed += 1
    assert failed <= stats.binom.isf(1e-6, runs, rate)


def test_every_test_inside_has_the_tail_it_is_held_to() -> None:
    """p-values of its statistics over 4000 draws, by the laws that the docstring names."""
    z = np.random.default_rng(0).standard_normal((4000, 30, 3))
    sums = stats.chi2.sf((z.sum(2) ** 2).sum(1) / 3, 30)
    halves = stats.norm.sf((z[:, :15] * z[:, 15:]).sum((1, 2)) / np.sqrt((z[:, :15] ** 2).sum((1, 2))))
    means = stats.norm.sf(z[:, :, 0].sum(1) / math.sqrt(30))
    spreads = stats.chi2.sf((z[:, :, 0] ** 2).sum(1), 30)
    for p in (sums, halves, means, spreads):
        assert stats.kstest(p, "uniform").pvalue > 1e-4


MISTAKES: dict[str, tuple[Callable[[Tensor], Tensor], str | None, str]] = {
    "shared by the batch": (lambda z: z[:, :1].expand_as(z), "all samples of a batch have the same noise", ""),
    "shared by the entries": (lambda z: z[..., :1].expand_as(z), "all entries of a sample have the same noise", ""),
    "kept over the calls": (lambda z: z[:1].expand_as(z), "every call or step has the same noise", ""),
    "halves alike": (
        lambda z: torch.cat([z[:, :500], z[:, :500]], 1),
        None,
        "the first half of a batch and the second",
    ),
    "halves opposite": (lambda z: torch.cat([z[:, :500], -z[:, :500]], 1), None, "the first half of a batch"),
    "second call repeats": (lambda z: z[[0, 0, 2, 2]], None, "one call and the next"),
    "too small": (lambda z: 0.8 * z, None, "wrong variance: 0.6"),
    "too large": (lambda z: 1.3 * z, None, ""),
    "moved": (lambda z: z + 0.3, None, "mean that is not 0"),
    "one entry moved": (lambda z: z + torch.tensor([0, 0, 0.2]), None, "at entry (2,)"),
    "entries of other sizes": (lambda z: z * torch.tensor([0.7, 1, 1.3]), None, "wrong variance"),
    "signs": (lambda z: z.sign(), None, "not standard normal"),
    "uniform": (lambda z: (torch.special.ndtr(z) - 0.5) * 12**0.5, None, "not standard normal"),
    "zero": (lambda z: 0 * z, "the noise is 0 everywhere", ""),
    "NaN": (lambda z: z * torch.nan, None, "finite"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_noise_that_is_not_fresh_or_not_normal_fails(mistake: str) -> None:
    make, hint, says = MISTAKES[mistake]
    for seed in range(5):
        calls = list(make(noise(4, 1000, 3, seed=seed)))
        fails(lambda calls=calls: assert_standard_normal(calls), says=says, hint=hint)


def test_shapes_are_looked_at_before_numbers() -> None:
    fails(lambda: assert_standard_normal([noise(4, 2), noise(4, 3)]), says="should have shape (N, 2)")
    fails(
        lambda: assert_standard_normal([noise(4, 2), noise(5, 2)]),
        says="another number of samples in call 2: 5 after 4",
    )
    fails(lambda: assert_standard_normal(noise(1)), says="too few")
    fails(lambda: assert_standard_normal(None), says="should be a tensor, got None")
    fails(lambda: assert_standard_normal([]), says="nothing was drawn")


@pytest.mark.parametrize("shape", [(), (2,), (1, 2, 2)])
def test_right_chains_fail_no_more_often_than_stated(shape: tuple[int, ...]) -> None:
    failed = 0
    slope, scale = [0.9, 0.5, 1.1], [0.5, 0.0, 2.0]
    for seed in range(100):
        z = noise(4, 60, *shape, seed=seed)
        states = [z[0]]
        for k in range(3):
            states.append(slope[k] * states[-1] + k + scale[k] * z[k + 1])
        assert_steps_follow(states, slope, [0.0, 1.0, 2.0], scale)
        try:
            assert_steps_follow(states, slope, [0.0, 1.0, 2.0], scale, false_failure=0.05)
        except Wrong:
            failed += 1
    assert failed <= stats.binom.isf(1e-6, 100, 0.05)


def test_a_number_is_told_with_its_input_and_both_values() -> None:
    assert assert_number(torch.tensor(2.0), 2.0, "the distance", tolerance=1e-6) == 2.0
    assert assert_number(2, 2.0, "the distance", tolerance=1e-6) == 2.0
    fault = fails(lambda: assert_number(2.5, 2.0, "the distance", tolerance=1e-6, asked="of two points"), hint=None)
    assert fault.message == ("the distance of two points is off by 0.5: yours 2.5, expected 2 (accepted error 1e-06)")
    quiet = fails(lambda: assert_number(2.5, 2.0, "it", tolerance=1e-6, show=False), hint=None)
    assert quiet.message == "it is off by 0.5 (accepted error 1e-06)"
    assert quiet.detail == "yours 2.5, expected 2"
    halves = {"this is half of it": 1.0, "this is its root": 2**0.5}
    fails(lambda: assert_number(1.0, 2.0, "it", tolerance=1e-6, alternatives=halves), hint="half of it")
    both = {"this is half of it": 1.0, "this is its reciprocal, doubled": 1.0}
    fails(lambda: assert_number(1.0, 2.0, "it", tolerance=1e-6, alternatives=both), hint=None)
    for bad, says in (
        (math.nan, "finite"),
        (math.inf, "finite"),
        (torch.ones(1), "shape ()"),
        (None, "got None"),
        (torch.tensor(2j), "real"),
    ):
        fails(lambda bad=bad: assert_number(bad, 2.0, "it", tolerance=math.inf), says=says)
