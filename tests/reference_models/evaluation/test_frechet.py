"""The Fréchet distance, against SciPy's matrix root, torchmetrics and Gaussians whose distance is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from reference_models.evaluation.frechet import frechet_distance, frechet_infinity, frechet_interval
from reference_models.foundations.wasserstein import gaussian_w2_squared
from tests.reference_models.helpers import numpy


def correlated(n: int, d: int, shift: float, generator: torch.Generator) -> torch.Tensor:
    """Normal features with correlations that differ from one call to the next."""
    mixing = torch.randn(d, d, generator=generator, device=generator.device)
    return torch.randn(n, d, generator=generator, device=generator.device) @ mixing + shift


def by_scipy(a: torch.Tensor, b: torch.Tensor) -> float:
    x, y = numpy(a), numpy(b)
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    cross = sqrtm(cov_x @ cov_y).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x + cov_y - 2 * cross))


def test_it_equals_scipys_matrix_square_root(generator):
    """Correlated features, N ≠ M; the elementwise root of the covariances would be far off."""
    a, b = correlated(40, 5, 0.0, generator), correlated(60, 5, 0.5, generator)
    assert float(frechet_distance(a, b)) == pytest.approx(by_scipy(a, b), abs=1e-8)


def test_it_equals_torchmetrics(generator):
    from torchmetrics.image.fid import _compute_fid

    a, b = correlated(40, 5, 0.0, generator), correlated(60, 5, 0.5, generator)
    theirs = _compute_fid(a.mean(0), a.T.cov(), b.mean(0), b.T.cov())
    assert float(frechet_distance(a, b)) == pytest.approx(float(theirs), abs=1e-8)


def test_it_is_zero_for_itself_symmetric_and_adds_the_square_of_a_shift(generator):
    a, b = correlated(40, 4, 0.0, generator), correlated(50, 4, 1.0, generator)
    shift = torch.tensor([1.0, -2.0, 0.5, 3.0])
    assert float(frechet_distance(a, a)) == pytest.approx(0, abs=1e-8)
    assert float(frechet_distance(a, b)) == pytest.approx(float(frechet_distance(b, a)), abs=1e-8)
    assert float(frechet_distance(a, a + shift)) == pytest.approx(float((shift**2).sum()), abs=1e-8)


def test_rotating_both_sets_changes_nothing(generator):
    a, b = correlated(40, 4, 0.0, generator), correlated(50, 4, 1.0, generator)
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, generator=generator, device=generator.device))
    turned = frechet_distance(a @ rotation, b @ rotation)
    assert float(frechet_distance(a, b)) == pytest.approx(float(turned), abs=1e-8)


def test_fewer_examples_than_features_are_welcome(generator):
    """Both covariances singular."""
    a, b = correlated(4, 6, 0.0, generator), correlated(5, 6, 0.5, generator)
    assert float(frechet_distance(a, b)) == pytest.approx(by_scipy(a, b), abs=1e-5)  # sqrtm's accuracy at singular


def test_float32_features_lose_nothing_but_their_own_rounding(generator):
    a, b = correlated(40, 5, 30.0, generator), correlated(60, 5, 30.5, generator)
    single = frechet_distance(a.float(), b.float())
    assert single.dtype == torch.float32
    assert float(single) == pytest.approx(by_scipy(a, b), rel=1e-4)


def test_the_closed_form_between_gaussians_is_the_one_of_diagonal_ones():
    """Σ (m_a − m_b)² + (σ_a − σ_b)², by hand."""
    m_a, m_b = torch.tensor([0.0, 1.0]), torch.tensor([2.0, 1.0])
    s_a, s_b = torch.tensor([1.0, 0.0]), torch.tensor([3.0, 2.0])
    expected = 4 + 4 + 4
    assert float(gaussian_w2_squared(m_a, (s_a**2).diag(), m_b, (s_b**2).diag())) == pytest.approx(expected, abs=1e-12)


def test_the_basic_interval_holds_the_true_distance_where_the_estimate_is_biased(generator):
    """Equal laws but for a shift of 0.4 in 1 of 6 features: the truth is 0.16, the estimates lie around 0.3.

    Of 12 intervals at least 4 hold the truth (at coverage 0.9 fewer do with chance 2e-7), where a percentile interval
    never does; at least 7 of the estimates exceed it (0.99 of them do: 1e-9).
    """
    held, above = 0, 0
    for _ in range(12):
        a = torch.randn(150, 6, generator=generator, device=generator.device)
        b = torch.randn(150, 6, generator=generator, device=generator.device)
        b[:, 0] += 0.4
        interval = frechet_interval(a, b, resamples=60, generator=generator)
        held += interval.low <= 0.16 <= interval.high
        above += interval.value > 0.16
        assert interval.bias > 0
        assert 0 <= interval.low <= interval.high
    assert above >= 7
    assert held >= 4


def test_the_bias_of_the_bootstrap_is_about_that_of_the_estimate(generator):
    """Equal laws, 100 examples of 4 features: the mean of 25 estimates is the bias; the bootstrap is within 35 %."""
    estimates, biases = [], []
    for _ in range(25):
        a, b = (torch.randn(100, 4, generator=generator, device=generator.device) for _ in range(2))
        interval = frechet_interval(a, b, resamples=40, generator=generator)
        estimates.append(interval.value)
        biases.append(interval.bias)
    assert np.mean(biases) == pytest.approx(np.mean(estimates), rel=0.35)


def test_extrapolation_to_infinitely_many_examples_takes_the_bias_off(generator):
    """Equal laws, 1000 examples of 8 features: estimates lie round 0.05, extrapolations round 0 with deviation 0.018.

    The mean of 10 is within 0.7 of the estimates' mean, 5 standard errors.
    """
    estimates, extrapolated = [], []
    for _ in range(10):
        a, b = (torch.randn(1000, 8, generator=generator, device=generator.device) for _ in range(2))
        estimates.append(float(frechet_distance(a, b)))
        extrapolated.append(frechet_infinity(a, b, generator=generator))
    assert abs(np.mean(extrapolated)) < 0.7 * np.mean(estimates)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="same number of features, got 3 and 2"):
        frechet_distance(torch.randn(5, 3), torch.randn(5, 2))
    with pytest.raises(ValueError, match="features_b must hold at least 2 examples, got 1"):
        frechet_distance(torch.randn(5, 3), torch.randn(1, 3))
    with pytest.raises(ValueError, match="more examples than features, got 5 examples of 6"):
        frechet_interval(torch.randn(5, 6), torch.randn(9, 6))
    with pytest.raises(ValueError, match="points must be at least 2, got 1"):
        frechet_infinity(torch.randn(20, 2), torch.randn(20, 2), points=1)
