"""Improved precision and recall, on the line by hand, and against brute force with scikit-learn's neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from reference_models.evaluation.precision_recall import (
    in_manifold,
    precision_recall,
    precision_recall_intervals,
)
from tests.reference_models.helpers import numpy


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.get_default_dtype())[:, None]


def test_the_line_by_hand():
    """Real balls reach 1, so 1.4 is inside and 10 is not; both fake balls reach 8.6 and hold all that is real."""
    found = precision_recall(column(0, 1, 2, 3), column(1.4, 10), k=1)
    assert (found.precision, found.recall) == (0.5, 1.0)


def test_the_ball_belongs_to_the_set_that_is_the_support():
    """Fake points 0.4 apart round 0; real ones 0 and 100: each ball round a real point reaches 100."""
    found = precision_recall(column(0, 100), column(-0.4, 0.0, 0.4), k=1)
    assert (found.precision, found.recall) == (1.0, 0.5)


def test_a_ball_contains_its_edge():
    assert in_manifold(column(2.0, 2.01), column(0, 1), k=1).tolist() == [True, False]


def test_disjoint_sets_score_zero_and_equal_sets_one():
    x = torch.randn(20, 3)
    apart, same = precision_recall(x, x + 100, k=3), precision_recall(x, x.flip(0), k=3)
    assert (apart.precision, apart.recall) == (0, 0)
    assert (same.precision, same.recall) == (1, 1)


def test_a_dropped_mode_costs_recall_and_not_precision():
    mode = torch.randn(60, 2)
    real = torch.cat([mode, torch.randn(60, 2) + 50])
    found = precision_recall(real, torch.randn(120, 2), k=5)
    assert found.precision > 0.9
    assert 0.35 < found.recall <= 0.5


@pytest.mark.parametrize("k", [1, 3])
def test_it_equals_brute_force(k):
    real, fake = torch.randn(40, 4), 0.8 * torch.randn(30, 4) + 0.3
    expected = []
    for points, support in ((fake, real), (real, fake)):
        radius = NearestNeighbors(n_neighbors=k).fit(numpy(support)).kneighbors()[0][:, -1]
        expected.append(float((cdist(numpy(points), numpy(support)) <= radius).any(axis=1).mean()))
    found = precision_recall(real, fake, k=k)
    assert [found.precision, found.recall] == pytest.approx(expected, abs=1e-12)
    assert 0 < found.precision < 1


def test_the_intervals_are_those_of_a_share(generator):
    """Given the manifolds precision is a mean of zeros and ones: ± 1.96 √(p (1 − p)/M), within a quarter."""
    real, fake = torch.randn(100, 3), 1.3 * torch.randn(100, 3) + 0.4
    point = precision_recall(real, fake)
    both = precision_recall_intervals(real, fake, resamples=1000, generator=generator)
    for value, interval in ((point.precision, both.precision), (point.recall, both.recall)):
        assert interval.value == pytest.approx(value)
        assert interval.high - interval.low == pytest.approx(3.92 * np.sqrt(value * (1 - value) / 100), rel=0.25)


def test_float32_agrees():
    real, fake = torch.randn(40, 4), torch.randn(30, 4)
    assert precision_recall(real.float(), fake.float()) == precision_recall(real, fake)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"k must lie between 1 and 2, .* got 3"):
        precision_recall(torch.randn(9, 2), torch.randn(3, 2), k=3)
    with pytest.raises(ValueError, match="fake must hold at least 2 examples, got 1"):
        precision_recall(torch.randn(9, 2), torch.randn(1, 2), k=1)
