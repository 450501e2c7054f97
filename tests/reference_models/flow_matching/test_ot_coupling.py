"""Minibatch couplings against all permutations, against POT, and against sorting where space is a line."""

from __future__ import annotations

import itertools

import numpy as np
import ot
import pytest
import torch
from scipy.stats import chi2

from reference_models.flow_matching.ot_coupling import (
    OTFlowMatching,
    draw_partners,
    optimal_pairing,
    sinkhorn,
    squared_distances,
)
from reference_models.parts.networks import TimeMLP
from tests.reference_models.flow_matching.fields import Known
from tests.reference_models.helpers import close, numpy


def test_distances_are_squared_and_summed_over_the_event():
    x, y = torch.randn(4, 1, 3, 2), torch.randn(5, 1, 3, 2)
    expected = ((x[:, None] - y[None]) ** 2).sum((2, 3, 4))
    assert close(squared_distances(x, y), expected)


def test_no_permutation_is_cheaper():
    for _ in range(5):
        x_0, x_1 = torch.randn(6, 2), 2 * torch.randn(6, 2) + 1
        cost = numpy(((x_0[optimal_pairing(x_0, x_1)] - x_1) ** 2).sum())
        every = [((x_0[list(p)] - x_1) ** 2).sum() for p in itertools.permutations(range(6))]
        assert cost == pytest.approx(float(min(every)), abs=1e-12)


def test_the_pairing_costs_what_the_transport_plan_of_pot_costs():
    x_0, x_1 = torch.randn(40, 3), torch.randn(40, 3) ** 3
    pairing = optimal_pairing(x_0, x_1)
    assert sorted(pairing.tolist()) == list(range(40))
    uniform = np.full(40, 1 / 40)
    expected = ot.emd2(uniform, uniform, ot.dist(numpy(x_0), numpy(x_1)))
    assert close(((x_0[pairing] - x_1) ** 2).sum(1).mean(), float(expected), 1e-10)


def test_on_a_line_the_pairing_sorts():
    x_0, x_1 = torch.randn(30, 1), torch.rand(30, 1)
    paired = x_0[optimal_pairing(x_0, x_1)]
    assert close(paired[x_1[:, 0].argsort()], x_0.sort(0).values, 0.0)


def test_sinkhorn_is_the_entropic_plan_of_pot():
    cost = squared_distances(torch.randn(8, 2), torch.randn(11, 2))
    a, b = np.full(8, 1 / 8), np.full(11, 1 / 11)
    expected = ot.sinkhorn(a, b, numpy(cost), reg=0.7, stopThr=1e-14, numItermax=5000)
    assert close(sinkhorn(cost, 0.7, iterations=2000).cpu(), torch.as_tensor(expected, device="cpu"), 1e-10)


def test_sinkhorn_goes_from_the_pairing_to_independence():
    x_0, x_1 = torch.randn(7, 2), torch.randn(7, 2)
    cost = squared_distances(x_1, x_0)
    assert close(sinkhorn(cost, 1e6), 1 / 49, 1e-6)
    sharp = sinkhorn(cost, 1e-3 * float(cost.mean()), iterations=5000)
    assert close(sharp.argmax(1), optimal_pairing(x_0, x_1), 0.0)
    assert close(sharp.sum(0), 1 / 7, 1e-9)
    assert sinkhorn(cost.float(), 1e-4).isfinite().all()


def test_partners_are_drawn_with_the_probabilities_of_their_row(generator):
    """χ² with two degrees of freedom over 20 000 draws of each row, at 10⁻⁶."""
    plan = torch.tensor([[0.30, 0.05, 0.15], [0.10, 0.35, 0.05]])
    n = 20000
    drawn = draw_partners(plan.repeat_interleave(n, 0), generator).reshape(2, n)
    for row, columns in zip(plan / plan.sum(1, keepdim=True), drawn, strict=True):
        counts = torch.bincount(columns, minlength=3)
        statistic = float(((counts - n * row) ** 2 / (n * row)).sum())
        assert statistic < chi2.ppf(1 - 1e-6, 2)


def ends(model: OTFlowMatching, net: Known, x_0, x_1, y=None):
    """What the network sees at t = 0 and t = 1: the noise and the data of each pair."""
    seen = []
    for t in (0.0, 1.0):
        model.loss(x_1, y, t=torch.full((len(x_1),), t), generator=torch.Generator(x_1.device).manual_seed(5))
        seen.append(net.calls[-1])
    return seen


def test_training_pairs_noise_and_data_optimally_and_leaves_labels_with_their_data(device):
    net = Known(lambda x, t, y: torch.zeros_like(x))
    model = OTFlowMatching(net, (2,))
    x_1, y = 3 * torch.randn(12, 2), torch.arange(12)
    x_0 = torch.randn(12, 2, generator=torch.Generator(device).manual_seed(5))
    start, end = ends(model, net, x_0, x_1, y)
    assert close(end[0], x_1, 1e-12)
    assert torch.equal(end[2], y)
    assert close(start[0].sort(0).values, x_0.sort(0).values, 1e-12)  # the same noise, in another order
    uniform = np.full(12, 1 / 12)
    best = ot.emd2(uniform, uniform, ot.dist(numpy(x_0), numpy(x_1)))
    assert close(((start[0] - end[0]) ** 2).sum(1).mean(), float(best), 1e-10)


def test_no_exchange_of_partners_helps():
    x_0, x_1 = torch.randn(20, 3), torch.randn(20, 3)
    x_0 = OTFlowMatching(TimeMLP(3, [4], 3), (3,)).couple(x_0, x_1)
    kept = squared_distances(x_0, x_1)
    gain = kept.diagonal()[:, None] + kept.diagonal()[None, :] - kept - kept.T
    assert float(gain.max()) <= 1e-12


def test_the_entropic_coupling_is_dearer_than_the_exact_and_cheaper_than_none(generator):
    x_0, x_1 = torch.randn(200, 2), torch.randn(200, 2)
    net = TimeMLP(2, [4], 2)

    def cost(epsilon):
        paired = OTFlowMatching(net, (2,), epsilon=epsilon).couple(x_0, x_1, generator)
        return float(((paired - x_1) ** 2).sum(1).mean())

    free = float(((x_0 - x_1) ** 2).sum(1).mean())
    assert cost(None) < cost(0.05) < cost(0.5) < 0.9 * free


def test_the_entropy_is_measured_in_mean_squared_distances(device):
    """So that units do not matter: noise and data ten times as large are paired as before, from the same draws."""
    x_0, x_1 = torch.randn(60, 2), torch.randn(60, 2)
    model = OTFlowMatching(TimeMLP(2, [4], 2), (2,), epsilon=0.1)
    small, large = (
        model.couple(c * x_0, c * x_1, torch.Generator(device).manual_seed(3)) / c for c in (torch.ones(()), 10.0)
    )
    assert close(small, large, 1e-9)
    cost = squared_distances(x_1, x_0)
    plan = sinkhorn(cost, 0.1 * float(cost.mean()))
    partners = draw_partners(plan, torch.Generator(device).manual_seed(3))
    assert close(small, x_0[partners], 1e-12)


def test_a_single_example_and_single_precision():
    model = OTFlowMatching(TimeMLP(2, [4], 2).float(), (2,))
    assert model.loss(torch.randn(2, dtype=torch.float32)).shape == ()
    assert model.loss(torch.randn(64, 2, dtype=torch.float32)).dtype == torch.float32


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="equal numbers, got 3 and 4"):
        optimal_pairing(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"\(N, \*event\)"):
        squared_distances(torch.zeros(3, 2), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="epsilon must be positive, got 0"):
        OTFlowMatching(TimeMLP(2, [4], 2), (2,), epsilon=0.0)
    with pytest.raises(ValueError, match="iterations must be at least 1"):
        sinkhorn(torch.zeros(2, 2), 1.0, iterations=0)
