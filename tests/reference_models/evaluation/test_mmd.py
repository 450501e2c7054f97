"""Kernel MMD, against double sums, torchmetrics and the closed form between Gaussians."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from reference_models.evaluation.mmd import (
    gaussian_kernel,
    kid,
    median_bandwidth,
    mmd_interval,
    mmd_squared,
    polynomial_kernel,
)
from tests.reference_models.helpers import numpy, standard_errors


def double_sum(a, b, k, unbiased: bool) -> float:
    """The definition, two loops a term."""

    def average(x, y, apart: bool) -> float:
        terms = [k(x[i], y[j]) for i in range(len(x)) for j in range(len(y)) if not (apart and i == j)]
        return sum(terms) / len(terms)

    return average(a, a, unbiased) + average(b, b, unbiased) - 2 * average(a, b, False)


@pytest.mark.parametrize("unbiased", [True, False])
def test_it_is_the_double_sum_of_its_definition(unbiased):
    a, b = torch.randn(7, 3), torch.randn(5, 3) + 0.5
    h = 0.7
    expected = double_sum(numpy(a), numpy(b), lambda x, y: math.exp(-((x - y) ** 2).sum() / (2 * h * h)), unbiased)
    assert float(mmd_squared(a, b, gaussian_kernel(h), unbiased=unbiased)) == pytest.approx(expected, abs=1e-12)
    expected = double_sum(numpy(a), numpy(b), lambda x, y: (x @ y / 3 + 1) ** 3, unbiased)
    assert float(mmd_squared(a, b, polynomial_kernel(), unbiased=unbiased)) == pytest.approx(expected, abs=1e-10)


def test_torchmetrics_agrees_on_kid():
    from torchmetrics.image.kid import poly_mmd

    a, b = torch.randn(12, 6), torch.randn(12, 6) + 0.3
    assert float(kid(a, b)) == pytest.approx(float(poly_mmd(a, b)), abs=1e-10)


def test_the_estimate_is_unbiased_for_gaussians(generator):
    """N(0, I) against N(δ, s²I) with kernel width h: every expectation is (h²/(h² + v))^{D/2} e^{−|Δ|²/2(h² + v)},
    v the variance of the difference. 500 draws of 6 and 5 examples; false failures 6e-7.
    """
    h, s, d = 1.2, 0.6, 2
    delta = torch.tensor([0.5, -0.3])

    def expectation(v: float, offset: float) -> float:
        return (h * h / (h * h + v)) ** (d / 2) * math.exp(-offset / (2 * (h * h + v)))

    exact = expectation(2, 0) + expectation(2 * s * s, 0) - 2 * expectation(1 + s * s, float((delta**2).sum()))
    draws = torch.stack(
        [
            mmd_squared(
                torch.randn(6, d, generator=generator, device=generator.device),
                s * torch.randn(5, d, generator=generator, device=generator.device) + delta,
                gaussian_kernel(h),
            )
            for _ in range(500)
        ]
    )
    assert standard_errors(draws, exact) < 5
    assert bool((draws < 0).any())  # as an unbiased estimate of something near zero must be, now and then


def test_equal_sets_and_the_biased_estimate():
    """The biased estimate of a set with itself is 0; the unbiased one is below 0 by the diagonal's share."""
    a = torch.randn(8, 2)
    assert float(mmd_squared(a, a, gaussian_kernel(1.0), unbiased=False)) == pytest.approx(0, abs=1e-12)
    assert float(mmd_squared(a, a, gaussian_kernel(1.0))) < 0


def test_the_median_distance_is_scipys():
    a, b = torch.randn(6, 3), torch.randn(5, 3)
    distances = np.sort(pdist(np.concatenate([numpy(a), numpy(b)])))
    assert median_bandwidth(a, b) == pytest.approx(distances[(len(distances) - 1) // 2], abs=1e-12)


def test_the_interval_leaves_out_copies_of_one_example(generator):
    """So that resamples scatter round the estimate: the bootstrap's bias is small beside the interval's width."""
    a, b = torch.randn(40, 3), torch.randn(40, 3) + 1
    for kernel in (None, gaussian_kernel(0.3)):  # a narrow kernel: copies would weigh most
        interval = mmd_interval(a, b, kernel, resamples=400, generator=generator)
        assert abs(interval.bias) < 0.25 * (interval.high - interval.low)
        assert interval.low < interval.value < interval.high


def test_the_interval_holds_the_truth(generator):
    """N(0, 1) against N(1, 1), h = 1, of 60 each: 10 of 20 intervals hold it; fewer with chance 7e-7 at 0.9."""
    exact = 2 * (1 / 3) ** 0.5 * (1 - math.exp(-1 / 6))
    held = 0
    for _ in range(20):
        a, b = (torch.randn(60, 1, generator=generator, device=generator.device) + shift for shift in (0, 1))
        interval = mmd_interval(a, b, gaussian_kernel(1.0), resamples=100, generator=generator)
        held += interval.low <= exact <= interval.high
    assert held >= 10


def test_gradients_reach_the_samples():
    a = torch.randn(5, 2, requires_grad=True)
    b = torch.randn(5, 2)
    assert torch.autograd.gradcheck(lambda x: mmd_squared(x, b, polynomial_kernel()), (a,))


def test_float32_agrees():
    """Also far from the origin, where the averages are near 10⁶ and their difference near 10³."""
    for shift in (0, 10):
        a, b = (torch.randn(30, 6) + shift).float(), (torch.randn(20, 6) + 0.3 + shift).float()
        assert kid(a, b).dtype == torch.float32
        assert float(kid(a, b)) == pytest.approx(float(kid(a.double(), b.double())), rel=1e-6)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="bandwidth must be positive, got 0"):
        gaussian_kernel(0)
    with pytest.raises(ValueError, match="degree must be at least 1, got 0"):
        polynomial_kernel(0)
    with pytest.raises(ValueError, match="features_b must hold at least 10 examples, got 3"):
        mmd_interval(torch.randn(20, 2), torch.randn(3, 2))
    with pytest.raises(ValueError, match="same number of features, got 3 and 2"):
        kid(torch.randn(5, 3), torch.randn(5, 2))
