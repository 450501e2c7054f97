"""Density and coverage, by hand, by brute force, and against their exact means under equal laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from reference_models.evaluation.density_coverage import (
    density_coverage,
    density_coverage_intervals,
    expected_coverage,
)
from tests.reference_models.helpers import numpy, standard_errors


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.get_default_dtype())[:, None]


def test_the_line_by_hand():
    """Real 0, 1, 3, radii 1, 1, 2 at k = 1: fake 0.5 is in two balls, 1.5 in two, 9 in none; each ball is hit."""
    found = density_coverage(column(0, 1, 3), column(0.5, 1.5, 9), k=1)
    assert found.density == pytest.approx(4 / 3)
    assert found.coverage == 1.0


def test_an_outlier_among_the_real_counts_one_ball_only():
    """It lets every fake point into one ball: precision 1, density 1/k of it at most, coverage a quarter."""
    found = density_coverage(column(0, 0.1, 0.2, 100), column(50, 51, 52), k=1)
    assert found.density == pytest.approx(1.0)
    assert found.coverage == 0.25


@pytest.mark.parametrize("k", [1, 4])
def test_it_equals_brute_force(k):
    real, fake = torch.randn(40, 3), 0.7 * torch.randn(25, 3) + 0.4
    radius = NearestNeighbors(n_neighbors=k).fit(numpy(real)).kneighbors()[0][:, -1]
    inside = cdist(numpy(real), numpy(fake)) <= radius[:, None]
    found = density_coverage(real, fake, k=k)
    assert found.density == pytest.approx(inside.sum() / (k * 25), abs=1e-12)
    assert found.coverage == pytest.approx(inside.any(axis=1).mean(), abs=1e-12)


def test_equal_laws_have_the_exact_means_whatever_the_law(generator):
    """E density = 1 and E coverage = 1 − Π (N − s)/(N + M − s), over 400 draws. False failures: 6e-7 each."""
    n, m, k = 12, 8, 2
    density, coverage = [], []
    for _ in range(400):
        drawn = torch.rand(n + m, 2, generator=generator, device=generator.device) ** 3
        found = density_coverage(drawn[:n], drawn[n:], k=k)
        density.append(found.density)
        coverage.append(found.coverage)
    assert standard_errors(torch.tensor(density), 1.0) < 5
    exact = 1 - (11 / 19) * (10 / 18)
    assert standard_errors(torch.tensor(coverage), exact) < 5
    assert expected_coverage(n, m, k) == pytest.approx(exact, abs=1e-12)


def test_a_dropped_mode_costs_coverage():
    real = torch.cat([torch.randn(40, 2), torch.randn(40, 2) + 50])
    found = density_coverage(real, torch.randn(80, 2))
    assert found.coverage <= 0.5


def test_the_intervals_are_those_of_a_mean(generator):
    real, fake = torch.randn(100, 3), 1.3 * torch.randn(80, 3)
    point = density_coverage(real, fake)
    both = density_coverage_intervals(real, fake, resamples=500, generator=generator)
    assert both.density.value == pytest.approx(point.density)
    assert both.coverage.value == pytest.approx(point.coverage)
    half = 1.96 * np.sqrt(point.coverage * (1 - point.coverage) / 100)
    assert both.coverage.high - both.coverage.low == pytest.approx(2 * half, rel=0.25)
    assert both.density.low < point.density < both.density.high


def test_float32_agrees():
    real, fake = torch.randn(40, 3), torch.randn(30, 3)
    assert density_coverage(real.float(), fake.float()) == density_coverage(real, fake)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"k must lie between 1 and 4, .* got 5"):
        density_coverage(torch.randn(5, 2), torch.randn(9, 2), k=5)
    with pytest.raises(ValueError, match="needs 1 <= k < num_real"):
        expected_coverage(5, 5, 5)
