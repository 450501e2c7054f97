"""The memorisation test, against SciPy's Mann–Whitney test and models that copy by construction."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from reference_models.evaluation.memorisation import copying_interval, memorisation, nearest_distance
from tests.reference_models.helpers import close, numpy


def test_nearest_distances_are_scikit_learns():
    points, train = torch.randn(9, 3), torch.randn(20, 3)
    expected = NearestNeighbors(n_neighbors=1).fit(numpy(train)).kneighbors(numpy(points))[0][:, 0]
    assert close(nearest_distance(points, train), torch.as_tensor(expected, device=train.device), 1e-9)


@pytest.mark.parametrize("ties", [False, True])
def test_it_is_scipys_mann_whitney_test(ties):
    """U, and the p-value of its normal approximation with ties corrected and without continuity correction."""
    train, held_out, samples = torch.randn(30, 2), torch.randn(20, 2), 0.9 * torch.randn(25, 2)
    if ties:
        train, held_out, samples = (x.round() for x in (train, held_out, samples))
    found = memorisation(samples, held_out, train)
    of_samples, of_held_out = numpy(nearest_distance(samples, train)), numpy(nearest_distance(held_out, train))
    theirs = stats.mannwhitneyu(
        of_held_out, of_samples, alternative="greater", method="asymptotic", use_continuity=False
    )
    assert found.copying == pytest.approx(theirs.statistic / (25 * 20), abs=1e-12)
    assert found.p_value == pytest.approx(theirs.pvalue, abs=1e-12)
    assert found.z == pytest.approx(stats.norm.isf(theirs.pvalue), abs=1e-6)


def test_samples_near_training_examples_are_copying_and_those_far_away_are_not():
    train, held_out = torch.randn(100, 2), torch.randn(80, 2)
    recited = memorisation(train[:50] + 1e-6, held_out, train)
    assert recited.copying > 0.98
    assert recited.z > 5
    assert recited.p_value < 1e-6
    assert recited.exact_copies == 0
    far = memorisation(torch.randn(50, 2) + 30, held_out, train)
    assert far.copying < 0.02
    assert far.z < -5
    assert far.p_value > 0.999


def test_exact_copies_are_counted():
    train = torch.randn(10, 4)
    samples = torch.cat([train[:3], torch.randn(9, 4)])
    assert memorisation(samples, torch.randn(5, 4), train).exact_copies == 0.25


def test_under_an_honest_model_z_is_about_standard_normal(generator):
    """200 draws of three fresh sets: mean 0 and variance 1 within 5 standard errors of a normal law's."""
    scores = []
    for _ in range(200):
        # the training set is shared by both sides, which adds no variance: given it, distances are independent
        train, held_out, samples = torch.randn(3, 20, 2, generator=generator, device=generator.device)
        scores.append(memorisation(samples, held_out, train).z)
    z = torch.tensor(scores)
    assert abs(float(z.mean())) < 5 / math.sqrt(200)
    assert abs(float(z.var()) - 1) < 5 * math.sqrt(2 / 200)


def test_cells_find_copying_that_the_whole_averages_away():
    """A model that recites round one centre and strays round the other."""
    centres = torch.tensor([[0.0, 0.0], [100.0, 0.0]])
    train, held_out = (torch.cat([torch.randn(40, 2) + centre for centre in centres]) for _ in range(2))
    samples = torch.cat([train[:30] + 1e-6, torch.randn(30, 2) * 9 + centres[1]])
    whole = memorisation(samples, held_out, train)
    assert abs(whole.copying - 0.5) < 0.15
    assert memorisation(samples[:30], held_out, train, centres=centres).z > 5  # the empty cell is left out
    uneven = torch.cat([held_out[:40], held_out[40:60]])
    near, far = memorisation(samples[:30], uneven[:40], train).z, memorisation(samples[30:], uneven[40:], train).z
    expected = (40 * near + 20 * far) / 60
    assert memorisation(samples, uneven, train, centres=centres).z == pytest.approx(expected, abs=1e-9)


def test_the_interval_surrounds_the_share_and_is_that_of_the_statistic(generator):
    """Width against the delta method for the Mann–Whitney statistic, within a quarter."""
    train, held_out, samples = torch.randn(50, 2), torch.randn(60, 2), torch.randn(70, 2)
    found = copying_interval(samples, held_out, train, resamples=500, generator=generator)
    assert found.value == pytest.approx(memorisation(samples, held_out, train).copying)
    a, b = nearest_distance(samples, train), nearest_distance(held_out, train)
    nearer = (a[:, None] < b).to(a.dtype)
    deviation = float((nearer.mean(1).var() / 70 + nearer.mean(0).var() / 60).sqrt())
    assert found.high - found.low == pytest.approx(3.92 * deviation, rel=0.25)


def test_float32_agrees():
    train, held_out, samples = torch.randn(50, 2), torch.randn(60, 2), torch.randn(70, 2)
    single = memorisation(samples.float(), held_out.float(), train.float())
    assert single.z == pytest.approx(memorisation(samples, held_out, train).z, abs=0.01)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="same number of features, got 3 and 2"):
        memorisation(torch.randn(5, 3), torch.randn(5, 2), torch.randn(5, 2))
    with pytest.raises(ValueError, match="fewest must be at least 1, got 0"):
        memorisation(torch.randn(5, 2), torch.randn(5, 2), torch.randn(5, 2), fewest=0)
    one = torch.randn(1, 2)
    assert copying_interval(torch.randn(5, 2), one, one, resamples=10).value == 0  # nothing is nearer than itself
    with pytest.raises(ValueError, match="no cell has 10 samples and 10 held-out examples, got 1 cells"):
        memorisation(torch.randn(5, 2), torch.randn(5, 2), torch.randn(5, 2), centres=torch.zeros(1, 2))
