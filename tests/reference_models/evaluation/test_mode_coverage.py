"""Mode coverage, on points placed by hand, against SciPy's Mahalanobis distance and the chi-squared law."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import mahalanobis

from reference_models.evaluation.mode_coverage import mode_coverage, mode_coverage_intervals, narrowest_mode
from reference_models.parts.distributions import GaussianMixture
from tests.reference_models.helpers import numpy


def ring(modes: int = 4, std: float = 0.1) -> GaussianMixture:
    angle = torch.arange(modes) * (2 * torch.pi / modes)
    means = 2 * torch.stack([angle.cos(), angle.sin()], dim=1).to(torch.get_default_dtype())
    return GaussianMixture(torch.ones(modes) / modes, means, std**2 * torch.eye(2).repeat(modes, 1, 1))


def test_points_placed_by_hand():
    """Two on mode 0, one on mode 1 at 3.9 σ, one at 4.1 σ from mode 1, nothing near the others."""
    mixture = ring()
    samples = torch.stack(
        [
            mixture.means[0],
            mixture.means[0] + torch.tensor([0.1, 0.1]),
            mixture.means[1] + torch.tensor([0.39, 0.0]),
            mixture.means[1] + torch.tensor([0.0, 0.41]),
        ]
    )
    found = mode_coverage(samples, mixture)
    assert (found.within_4_sigma, found.modes_covered, found.min_share) == (0.75, 2, 0.0)


def test_the_share_is_of_all_samples_and_a_mode_needs_a_tenth_of_its_weight():
    mixture = GaussianMixture(
        torch.tensor([0.5, 0.5]), torch.tensor([[0.0, 0.0], [9.0, 0.0]]), torch.eye(2).repeat(2, 1, 1)
    )
    samples = torch.zeros(100, 2)
    samples[:4, 0] = 9.0
    assert mode_coverage(samples, mixture).modes_covered == 1  # 0.04 < 0.05
    samples[:5, 0] = 9.0
    assert mode_coverage(samples, mixture).modes_covered == 2
    samples[5:55, 0] = 100.0
    found = mode_coverage(samples, mixture)
    assert found.within_4_sigma == pytest.approx(0.5)
    assert found.min_share == pytest.approx(0.05)
    assert mode_coverage(samples, mixture, least=0.2).modes_covered == 1


def test_distances_are_scipys_mahalanobis_with_unlike_covariances():
    """The nearest mode in units of its own spread, not in plain distance."""
    means = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    roots = torch.randn(3, 2, 2) + torch.eye(2)
    covariances = roots @ roots.mT + 0.05 * torch.eye(2)
    mixture = GaussianMixture(torch.tensor([0.2, 0.5, 0.3]), means, covariances)
    samples = 3 * torch.randn(200, 2)
    inverses = np.linalg.inv(numpy(covariances))
    distance = np.array(
        [
            [mahalanobis(x, mean, inverse) for mean, inverse in zip(numpy(means), inverses, strict=True)]
            for x in numpy(samples)
        ]
    )
    for sigmas in (1.0, 4.0):
        on = distance.min(axis=1) <= sigmas
        shares = [float(((distance.argmin(axis=1) == k) & on).mean()) for k in range(3)]
        found = mode_coverage(samples, mixture, sigmas=sigmas)
        assert found.within_4_sigma == pytest.approx(on.mean(), abs=1e-12)
        assert found.min_share == pytest.approx(min(shares), abs=1e-12)


def test_the_target_itself_is_within_as_often_as_chi_squared_says(generator):
    """P(χ²₂ ≤ 4) at 2 σ, 20000 samples: 5 standard errors, false failures 6e-7."""
    mixture = ring()
    found = mode_coverage(mixture.sample(20000, generator=generator), mixture, sigmas=2.0)
    exact = stats.chi2.cdf(4, df=2)
    assert abs(found.within_4_sigma - exact) < 5 * (exact * (1 - exact) / 20000) ** 0.5
    assert found.modes_covered == 4
    assert abs(found.min_share - exact / 4) < 0.015


def test_intervals_surround_the_numbers(generator):
    mixture = ring()
    samples = mixture.sample(400, generator=generator)
    samples[:100] += 9
    point = mode_coverage(samples, mixture)
    found = mode_coverage_intervals(samples, mixture, resamples=300, generator=generator)
    assert found.within_4_sigma.value == pytest.approx(point.within_4_sigma)
    width = 3.92 * (0.75 * 0.25 / 400) ** 0.5
    assert found.within_4_sigma.high - found.within_4_sigma.low == pytest.approx(width, rel=0.25)
    assert (found.modes_covered.low, found.modes_covered.value, found.modes_covered.high) == (4, 4, 4)
    assert found.min_share.value == pytest.approx(point.min_share)
    assert found.min_share.bias < 0  # a least share of resamples is smaller still


def test_float32_samples_meet_a_float64_mixture(generator):
    mixture = ring()
    samples = mixture.sample(50, generator=generator)
    single, double = mode_coverage(samples.float(), mixture), mode_coverage(samples, mixture)
    assert single.within_4_sigma == pytest.approx(double.within_4_sigma, abs=1e-6)
    assert single.min_share == pytest.approx(double.min_share, abs=1e-6)


def test_the_narrowest_mode_is_that_of_numpy_in_units_of_the_mode():
    """Unlike modes, each squeezed by its own factor in one direction; strays of no mode do not count."""
    means = torch.tensor([[0.0, 0.0], [40.0, 0.0], [0.0, 40.0]])
    roots = torch.linalg.cholesky(
        torch.tensor([[[1.0, 0.5], [0.5, 2.0]], [[0.3, 0.0], [0.0, 0.1]], [[2.0, 1], [1, 2]]])
    )
    mixture = GaussianMixture(torch.ones(3), means, roots @ roots.mT)
    squeezed = torch.randn(3, 300, 2) * torch.tensor([0.6, 0.25, 0.9])[:, None, None] ** torch.tensor([0.0, 1.0])
    turned = squeezed @ torch.linalg.qr(torch.randn(3, 2, 2)).Q
    samples = torch.cat([*(means[:, None] + turned @ roots.mT), torch.full((50, 2), 20.0)])
    within = [x[np.linalg.norm(x, axis=1) <= 4] for x in numpy(turned)]
    expected = min(np.linalg.eigvalsh(np.cov(x.T))[0] ** 0.5 for x in within)
    assert narrowest_mode(samples, mixture) == pytest.approx(expected, abs=1e-9)
    assert 0.2 < expected < 0.3


def test_a_mode_on_a_line_or_without_samples_is_as_narrow_as_can_be(generator):
    mixture = ring()
    samples = mixture.sample(20000, generator=generator)
    assert narrowest_mode(samples, mixture) == pytest.approx(1.0, abs=0.05)
    line = samples.clone()
    near = (line - mixture.means[2]).norm(dim=1) < 1
    line[near, 1] = mixture.means[2, 1] + 0.5 * (line[near, 0] - mixture.means[2, 0])
    assert narrowest_mode(line, mixture) < 1e-6
    assert narrowest_mode(samples[~near], mixture) == 0.0
    assert narrowest_mode(samples[~near].float(), mixture) == 0.0


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="samples must have the mixture's 2 dimensions, got 3"):
        mode_coverage(torch.zeros(4, 3), ring())
    with pytest.raises(ValueError, match="samples must be finite"):
        mode_coverage(torch.full((4, 2), torch.nan), ring())
    with pytest.raises(ValueError, match="sigmas must be positive, got 0"):
        mode_coverage(torch.zeros(4, 2), ring(), sigmas=0)
