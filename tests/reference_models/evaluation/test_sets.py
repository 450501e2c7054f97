"""Distances and k-th neighbours, against SciPy and scikit-learn."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from reference_models.evaluation import sets
from reference_models.evaluation.sets import kth_neighbour_distance, pairwise_distance, require_two_sets
from tests.reference_models.helpers import close, numpy


def test_distances_are_scipys_and_zero_between_equal_rows():
    a = torch.randn(30, 4) + 1e4  # far from the origin, where |a|² + |b|² − 2ab has no digits left
    expected = torch.as_tensor(cdist(numpy(a), numpy(a)), device=a.device)
    assert close(pairwise_distance(a, a), expected, 1e-9)
    assert bool((pairwise_distance(a, a).diagonal() == 0).all())


@pytest.mark.parametrize("k", [1, 3, 11])
@pytest.mark.parametrize("at_once", [5, 2**24])
def test_the_kth_neighbour_is_scikit_learns(k, at_once, monkeypatch):
    """Also when distances are taken a block at a time."""
    monkeypatch.setattr(sets, "_PAIRS_AT_ONCE", at_once)
    x = torch.randn(12, 3)
    found = NearestNeighbors(n_neighbors=k).fit(numpy(x)).kneighbors()[0][:, -1]  # without X: not its own neighbour
    assert close(kth_neighbour_distance(x, k), torch.as_tensor(found, device=x.device), 1e-9)


def test_a_double_is_a_neighbour_at_distance_zero():
    x = torch.tensor([[0.0], [0.0], [2.0]])
    assert kth_neighbour_distance(x, 1).tolist() == [0, 0, 2]


@pytest.mark.parametrize("k", [0, 3, 4])
def test_a_neighbour_that_is_not_there_is_refused(k):
    with pytest.raises(ValueError, match=f"k must lie between 1 and 2, .* got {k}"):
        kth_neighbour_distance(torch.randn(3, 2), k)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.zeros(3), torch.zeros(3, 1), r"features_a must be floats of shape \(N, F\), got torch.float64 \(3,\)"),
        (torch.zeros(3, 1).long(), torch.zeros(3, 1), "features_a must be floats .* got torch.int64"),
        (torch.zeros(3, 1), torch.zeros(1, 1), "features_b must hold at least 2 examples, got 1"),
        (torch.zeros(3, 2), torch.zeros(3, 1), "same number of features, got 2 and 1"),
        (torch.full((2, 2), torch.nan), torch.zeros(3, 2), "features_a must be finite, got 4 values that are not"),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        require_two_sets(a.double() if a.is_floating_point() else a, b.double())
