"""Trivial models against closed forms and enumeration, and their recorded numbers against a second run."""

from __future__ import annotations

import math

import pytest
import torch

from reference_models import baselines, results
from reference_models.baselines import (
    BernoulliMixture,
    baselines_of,
    class_gaussians,
    fit_bernoulli,
    histogram_bits,
    n_gram_log_prob,
)
from reference_models.data import load
from reference_models.exact import every_state
from tests.reference_models.helpers import close

pytestmark = pytest.mark.skipif(
    "config.getoption('--device', 'cpu') != 'cpu'", reason="baselines are fitted on the CPU"
)


def binary(n: int = 300, d: int = 5) -> torch.Tensor:
    return (torch.rand(n, d) < torch.linspace(0.1, 0.9, d)).double()


def test_one_product_has_the_shares_of_each_place(generator):
    x = binary()
    mixture = fit_bernoulli(x, 1, generator=generator)
    shares = (x.sum(0) + 0.5) / (len(x) + 1)
    expected = torch.distributions.Bernoulli(shares).log_prob(x).sum(1)
    assert close(mixture.log_prob(x), expected, 1e-10)


def test_a_mixture_is_a_law_and_em_climbs(generator):
    x = torch.cat([(torch.rand(200, 4) < p).double() for p in (0.1, 0.9)])
    previous = -math.inf
    for steps in (0, 1, 3, 20):
        mixture = fit_bernoulli(x, 2, steps=steps, generator=torch.Generator().manual_seed(3))
        assert close(mixture.log_prob(every_state((4,))).exp().sum(), 1.0)
        mean = float(mixture.log_prob(x).mean())
        assert mean > previous
        previous = mean
    assert sorted(mixture.log_on.exp().mean(1).tolist()) == pytest.approx([0.1, 0.9], abs=0.03)


def test_an_m_step_by_hand():
    """Two examples, one of each component: a half is added to both counts of each value."""
    mixture = BernoulliMixture.of(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.eye(2))
    assert close(mixture.log_on.exp(), torch.tensor([[0.75, 0.25], [0.25, 0.25]]), 1e-12)
    assert close(mixture.log_off.exp(), torch.tensor([[0.25, 0.75], [0.75, 0.75]]), 1e-12)
    assert close(mixture.log_weights.exp(), torch.tensor([0.5, 0.5]), 1e-12)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_n_grams_are_laws_of_sequences(order):
    train = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 1]])
    states = (every_state((4,), 3) * 2).round().long()
    assert close(n_gram_log_prob(train, states, order, 3).exp().sum(), 1.0)


def test_bigrams_by_hand():
    """After the mark: 0 and 2 once each. After 0: 1 once. Each symbol has a third of a count on top."""
    found = n_gram_log_prob(torch.tensor([[0, 1], [2, 2]]), torch.tensor([[0, 1], [2, 0]]), 1, 3)
    first, second = (1 + 1 / 3) / 3, (1 + 1 / 3) / 2
    assert close(found, torch.tensor([math.log(first * second), math.log(first * (1 / 3) / 2)]), 1e-12)


def test_histograms_are_laws_of_pixels():
    train = torch.randint(0, 3, (20, 1, 2, 1)) / 2.0
    total = sum(2 ** (-2 * histogram_bits(train, x[None], 3)) for x in every_state((1, 2, 1), 3))
    assert close(total, torch.ones(1), 1e-12)
    alone = histogram_bits(torch.zeros(3, 1, 1, 1), torch.tensor([[[[0.0]]], [[[1.0]]]]), 2)
    assert close(alone, -torch.tensor([3.5 / 4, 0.5 / 4]).log2(), 1e-12)


def test_class_gaussians_have_the_moments_of_their_class(generator):
    """Before pixels are cut off at 0 and 1, which digits of even brightness are far from."""
    data = load("digits", dtype=torch.float64)
    few = torch.rand(50, 1, 8, 8) * 0.1 + 0.45
    data = type(data)("digits", few, few, torch.arange(50) % 2, torch.arange(50) % 2, (1, 8, 8))
    drawn = class_gaussians(data, 20_000, generator)
    assert drawn.shape == (20_000, 1, 8, 8)
    for c in (0, 1):
        x, y = few[c::2].flatten(1), drawn[c * 10_000 : (c + 1) * 10_000].flatten(1)
        assert close(y.mean(0), x.mean(0), 0.002)
        assert close(torch.cov(y.T), torch.cov(x.T, correction=0), 1e-4)


@pytest.mark.parametrize("name", ["waves"])
def test_the_recorded_numbers_are_those_of_a_second_run(name):
    now = {one.model: one.metrics for one in baselines_of(name)}
    kept = {row["model"]: row["metrics"] for row in results.baselines() if row["data"] == name}
    assert now.keys() == kept.keys()
    for model, metrics in now.items():
        assert metrics == pytest.approx(kept[model], rel=1e-6)


def test_every_set_without_files_has_a_record():
    assert {row["data"] for row in results.baselines()} == set(baselines.SWEEPS)
