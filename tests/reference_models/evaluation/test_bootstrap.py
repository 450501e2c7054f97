"""The bootstrap, against SciPy's, against normal theory, and in how often its intervals hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from reference_models.evaluation.bootstrap import bootstrap, bootstrap_mean, resampled_counts
from tests.reference_models.helpers import numpy, standard_errors


def test_counts_have_the_moments_of_the_multinomial(generator):
    """Sum n; E c = 1, E c² = 2 − 1/n, E c_i c_j = 1 − 1/n for i ≠ j. False failures: 6e-7 for each of 9 numbers."""
    n = 4
    draws = torch.stack([resampled_counts(n, like=torch.zeros(1), generator=generator) for _ in range(4000)])
    assert bool((draws.sum(dim=1) == n).all())
    assert draws.dtype == torch.float64
    assert standard_errors(draws, 1.0) < 5
    assert standard_errors(draws**2, 2 - 1 / n) < 5
    assert standard_errors(draws[:, 0] * draws[:, 1], torch.tensor(1 - 1 / n)) < 5


def test_the_value_is_the_statistic_of_all_ones(generator):
    values = torch.randn(20)
    assert bootstrap_mean(values, resamples=10, generator=generator).value == pytest.approx(float(values.mean()))


def test_percentile_and_basic_intervals_agree_with_scipy(generator):
    """Of the variance (divided by n) of 40 skewed numbers; quantiles of 4000 resamples on both sides.

    The tolerance is 0.16 of the interval's width, over 6 standard errors of the difference of two such quantiles.
    """
    values = torch.rand(40) ** 3

    def variance(counts):
        mean = counts @ values / counts.sum()
        return counts @ (values - mean) ** 2 / counts.sum()

    for kind in ("percentile", "basic"):
        ours = bootstrap(variance, (40,), like=values, resamples=4000, level=0.9, kind=kind, generator=generator)
        theirs = stats.bootstrap(
            (numpy(values),), np.var, n_resamples=4000, confidence_level=0.9, method=kind, rng=np.random.default_rng(0)
        ).confidence_interval
        width = theirs.high - theirs.low
        assert abs(ours.low - theirs.low) < 0.16 * width, kind
        assert abs(ours.high - theirs.high) < 0.16 * width, kind


def test_the_interval_of_a_mean_is_that_of_the_normal_law(generator):
    """Mean ± 1.96 σ/√n, the bootstrap's σ divided by n; within a tenth of the half width (6 standard errors)."""
    values = torch.randn(400)
    interval = bootstrap_mean(values, resamples=4000, generator=generator)
    half = 1.96 * float(values.std(correction=0)) / 20
    assert abs(interval.low - (interval.value - half)) < 0.1 * half + 0.06 * half
    assert abs(interval.high - (interval.value + half)) < 0.1 * half + 0.06 * half


def test_the_bias_of_the_plug_in_variance_is_found(generator):
    """The bootstrap's bias of Σ(x − x̄)²/n is exactly −variance/n."""
    values = torch.randn(10)

    def variance(counts):
        mean = counts @ values / counts.sum()
        return counts @ (values - mean) ** 2 / counts.sum()

    draws = 4000
    interval = bootstrap(variance, (10,), like=values, resamples=draws, generator=generator)
    exact = -float(values.var(correction=0)) / 10
    spread = (interval.high - interval.low) / 3.9
    assert abs(interval.bias - exact) < 5 * spread / math.sqrt(draws)


def test_sets_are_resampled_independently(generator):
    """The difference of means of one set with itself varies as that of two sets, twice the variance of a mean."""
    values = torch.randn(100)
    interval = bootstrap(
        lambda a, b: (a - b) @ values / 100, (100, 100), like=values, resamples=2000, level=0.95, generator=generator
    )
    expected = 2 * 1.96 * math.sqrt(2 * float(values.var(correction=0)) / 100)
    assert interval.value == pytest.approx(0)
    assert interval.high - interval.low == pytest.approx(expected, rel=0.2)


def test_intervals_hold_the_true_mean_as_often_as_they_say(generator):
    """100 sets of 30 normal numbers at level 0.8: between 56 and 96 hold it.

    The bootstrap of 30 numbers covers about 0.78; the binomial tails beyond are 3e-7 and 7e-8.
    """
    held = 0
    for _ in range(100):
        values = torch.randn(30, generator=generator, device=generator.device)
        interval = bootstrap_mean(values, resamples=200, level=0.8, generator=generator)
        held += interval.low <= 0 <= interval.high
    assert 56 <= held <= 96


def test_the_same_generator_state_gives_the_same_interval(device):
    values = torch.randn(10)
    both = [bootstrap_mean(values, generator=torch.Generator(device).manual_seed(3), resamples=50) for _ in range(2)]
    assert both[0] == both[1]


def test_float32_counts_follow_their_model(generator):
    values = torch.rand(50, dtype=torch.float32)
    assert resampled_counts(5, like=values, generator=generator).dtype == torch.float32
    interval = bootstrap_mean(values, resamples=50, generator=generator)
    assert interval.low < interval.value < interval.high


def test_an_interval_prints_its_value_and_ends(generator):
    assert str(bootstrap_mean(torch.ones(3), resamples=5, generator=generator)) == "1 [1, 1]"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"resamples": 1}, "resamples must be at least 2, got 1"),
        ({"level": 1.0}, r"level must lie in \(0, 1\), got 1.0"),
        ({"kind": "bca"}, "kind must be one of .* got 'bca'"),
    ],
)
def test_nonsense_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        bootstrap(lambda counts: counts.sum(), (3,), like=torch.zeros(1), **wrong)


def test_a_statistic_that_small_sets_leave_undefined_is_refused(generator):
    """The variance by counts − 1 of distinct examples: 0/0 where a resample of two holds one of them twice."""
    values = torch.tensor([0.0, 1.0])

    def spread(counts):
        return counts.var() / ((counts > 0).sum() - 1)

    assert bool(torch.isfinite(spread(torch.ones(2))))
    with pytest.raises(ValueError, match=r"must be finite, got 0, and no number on \d+ resamples"):
        bootstrap(spread, (2,), like=values, resamples=50, generator=generator)


def test_nothing_cannot_be_resampled():
    with pytest.raises(ValueError, match="the number of examples must be at least 1, got 0"):
        bootstrap_mean(torch.zeros(0))
