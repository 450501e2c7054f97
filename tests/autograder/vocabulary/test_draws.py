"""Means of draws of any law; the oracles are laws whose means are known, and repetition over seeds."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from autograder.checks import Wrong, assert_mean, assert_moments, retried
from autograder.errors import StudentFault
from tests.autograder.vocabulary.students import fails, generator

F64 = torch.float64
E = math.e


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator(seed), dtype=F64)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=F64)


# draws, their mean, their standard deviation, and a range where there is one
LAWS: dict[str, tuple[Any, float, float, tuple[float, float] | None]] = {
    "normal": (lambda s, n: 3 + 2 * normal(s, n), 3.0, 2.0, None),
    "uniform": (lambda s, n: uniform(s, n), 0.5, 12**-0.5, (0.0, 1.0)),
    "bernoulli": (lambda s, n: (uniform(s, n) < 0.01).double(), 0.01, 0.0995, (0.0, 1.0)),
    "exponential": (lambda s, n: -uniform(s, n).log(), 1.0, 1.0, None),
    "log-normal": (lambda s, n: normal(s, n).exp(), E**0.5, math.sqrt((E - 1) * E), None),
    "square": (lambda s, n: normal(s, n) ** 2, 1.0, 2**0.5, None),
    "pareto": (lambda s, n: uniform(s, n) ** (-1 / 2.5), 5 / 3, 1.4908, None),
    "narrow": (lambda s, n: 0.4 + 0.01 * uniform(s, n), 0.405, 0.01 * 12**-0.5, (0.0, 1.0)),
}


@pytest.mark.parametrize("name", LAWS)
def test_right_draws_pass_over_seeds_and_a_mean_that_is_off_by_nine_errors_fails(name: str) -> None:
    draw, mean, deviation, span = LAWS[name]
    n, bounds = 4000, [deviation * 1.001, *([span] if span else [])]
    for bound in bounds:
        # knowing a range only costs a term of its own: no bet may lose everything at the far end
        shift = 9 * deviation / n**0.5 + (40 * (bound[1] - bound[0]) / n if isinstance(bound, tuple) else 0)
        for seed in range(40):
            assert_mean(draw(seed, n), mean, bound=bound)
            for off in (shift, -shift):
                moved = mean + off
                if isinstance(bound, tuple) and not bound[0] <= moved <= bound[1]:
                    continue
                fails(lambda moved=moved, bound=bound, seed=seed: assert_mean(draw(seed, n), moved, bound=bound))


@pytest.mark.parametrize("name", LAWS)
def test_the_stated_rate_of_false_failures_is_kept(name: str) -> None:
    """At a rate of a tenth, over 600 seeds: the bounds are proved, this sees that they are coded as proved."""
    draw, mean, deviation, span = LAWS[name]
    for bound in (deviation, *([span] if span else [])):
        failed = 0
        for seed in range(600):
            try:
                assert_mean(draw(seed, 50), mean, bound=bound, false_failure=0.1)
            except Wrong:
                failed += 1
        assert failed <= 600 * 0.1 + 4 * (600 * 0.09) ** 0.5


def test_catonis_bound_holds_for_a_law_whose_sample_mean_breaks_the_normal_one() -> None:
    """A value of 1/√(pq) with probability p = 1/(2n), else near 0: chance alone throws the sample mean far off."""
    n, p, broken = 200, 1 / 20000, 0
    high = (1 - p) / (p * (1 - p)) ** 0.5
    low = -p / (p * (1 - p)) ** 0.5
    for seed in range(1000):
        x = torch.where(uniform(seed, n) < p, high, low)
        broken += int(abs(float(x.mean())) * n**0.5 > 4.9)  # where a normal test would fail it at 10⁻⁶
        assert_mean(x, 0.0, bound=1.0)
        assert_mean(x, 0.0, bound=(low, high))
    assert broken >= 2


def test_a_range_adapts_to_a_variance_nobody_knows() -> None:
    draw, mean, _, _ = LAWS["narrow"]
    fails(lambda: assert_mean(draw(0, 4000), mean + 0.01, bound=(0.0, 1.0)))  # Hoeffding: 0.043
    assert_mean(draw(0, 4000), mean, bound=(0.0, 1.0))


@pytest.mark.parametrize("dtype", [F64, torch.float32, torch.long])
def test_coordinates_are_tested_each_and_named(dtype: torch.dtype) -> None:
    x = torch.poisson(torch.full((4000, 2, 3), 4.0, dtype=F64), generator=generator()).to(dtype)
    assert_mean(x, 4.0, bound=2.0)
    expected = torch.full((2, 3), 4.0)
    expected[1, 2] = 4.5
    fails(
        lambda: assert_mean(x, expected, bound=torch.full((2, 3), 2.0)),
        says="the mean of the values is too small by 0.4",
    )
    fails(lambda: assert_mean(x, expected, bound=2.0), says="at index (1, 2)")
    fails(lambda: assert_mean(x[:, 0], expected, bound=2.0), says="should have shape (N, 2, 3), got (4000, 3)")


def test_one_sided_tests_fail_on_their_side_only() -> None:
    x = normal(0, 4000)
    assert_mean(x, 0.5, bound=1.0, sides="above")
    assert_mean(x, -0.5, bound=1.0, sides="below")
    fails(lambda: assert_mean(x, -0.5, bound=1.0, sides="above"), says="too large by 0.4")
    fails(lambda: assert_mean(x, 0.5, bound=1.0, sides="below"), says="too small by 0.5")


def test_a_value_outside_its_range_fails_and_rounding_does_not() -> None:
    x = uniform(0, 1000)
    x[3] = 1 + 1e-9
    assert_mean(x, 0.5, bound=(0.0, 1.0))
    x[3] = 1.5
    fails(lambda: assert_mean(x, 0.5, bound=(0.0, 1.0)), says="between 0 and 1, but 1 of 1000 do not")
    fails(lambda: assert_mean(torch.ones(9), 0.0, bound=(0.0, 1.0)), says="mean")
    assert_mean(torch.zeros(9), 0.0, bound=(0.0, 1.0))


@pytest.mark.parametrize("bad", [torch.full((100,), torch.nan), torch.full((100,), torch.inf), torch.zeros(1), None])
def test_nan_infinities_and_nothing_do_not_pass(bad: Any) -> None:
    for bound in (1e9, (-1.0, 1.0)):
        with pytest.raises(StudentFault):
            assert_mean(bad, 0.0, bound=bound)


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: assert_mean(x, 0.0, bound=0.0),
        lambda x: assert_mean(x, 0.0, bound=float("nan")),
        lambda x: assert_mean(x, 2.0, bound=(0.0, 1.0)),
        lambda x: assert_mean(x, 0.0, bound=(1.0, 0.0)),
        lambda x: assert_mean(x, 0.0, bound=1.0, sides="left"),
        lambda x: assert_mean(x, torch.zeros(2), bound=torch.ones(3)),
        lambda x: retried(lambda _, __: None, times=0),
        lambda x: retried(lambda _, __: None, false_failure=0.0),
    ],
)
def test_an_authors_mistake_is_a_value_error(ask: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        ask(torch.zeros(10))


def test_a_check_is_retried_on_fresh_draws_at_a_milder_rate() -> None:
    tries: list[tuple[int, float]] = []

    def check(attempt: int, false_failure: float) -> str:
        tries.append((attempt, false_failure))
        if attempt < 1:
            raise Wrong("by chance")
        return "passed"

    assert retried(check) == "passed"
    assert tries == [(0, 1e-3), (1, 1e-3)]
    tries.clear()
    assert retried(check, times=3, false_failure=1e-9) == "passed"
    assert tries == [(0, pytest.approx(1e-3)), (1, pytest.approx(1e-3))]
    fails(lambda: retried(check, times=1), says="by chance")


def test_a_retried_check_fails_right_draws_as_rarely_as_it_says_and_wrong_ones_at_fewer_draws() -> None:
    def check(scale: float, seed: int) -> Any:
        return lambda k, rate: assert_moments(scale * normal(7 * seed + k, 60), 0.0, 1.0, false_failure=rate)

    failed, caught = 0, 0
    for seed in range(800):
        try:
            retried(check(1.0, seed), false_failure=0.01)
        except Wrong:
            failed += 1
    assert failed <= 800 * 0.01 + 4 * (800 * 0.01) ** 0.5
    for seed in range(50):
        try:
            retried(check(1.7, seed))
        except Wrong:
            caught += 1
    assert caught >= 45  # one test at 10⁻⁶ catches about half of them


def test_another_fault_ends_a_retried_check_at_once() -> None:
    tries = []

    def check(attempt: int, false_failure: float) -> None:
        tries.append(attempt)
        raise StudentFault("too late", reason="timeout")

    with pytest.raises(StudentFault, match="too late"):
        retried(check, times=3)
    assert tries == [0]
