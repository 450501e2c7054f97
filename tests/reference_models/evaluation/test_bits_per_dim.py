"""Bits per dimension: uniform laws by hand, change of scale, a normal law integrated over a bin."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from reference_models.evaluation.bits_per_dim import (
    bits_per_dim,
    bits_per_dim_interval,
    dequantised_nll,
    nats_from_bits_per_dim,
)
from tests.reference_models.helpers import close


def test_knowing_nothing_costs_the_logarithm_of_the_levels():
    nll = torch.full((3,), 12 * math.log(256))
    assert close(bits_per_dim(nll, 12), 8.0, 1e-12)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.0, 256.0)])
def test_the_uniform_density_costs_the_same_on_every_scale(low, high):
    """Density (1/w)^D on data scaled to an interval of width w: 8 bits for 256 levels."""
    nll = torch.tensor([5 * math.log(high - low)])
    assert close(bits_per_dim(nll, 5, levels=256, width=high - low), 8.0, 1e-12)


def test_a_single_number_and_batches_keep_their_shape():
    assert bits_per_dim(torch.tensor(2.0), 3).shape == ()
    assert bits_per_dim(torch.zeros(64), 3).shape == (64,)


def test_nats_come_back():
    nll = torch.randn(5) * 30
    for extra in ({}, {"levels": 17, "width": 2.0}):
        assert close(nats_from_bits_per_dim(bits_per_dim(nll, 6, **extra), 6, **extra), nll, 1e-12)


def test_dequantisation_bounds_the_mass_of_a_bin_and_reaches_it(generator):
    """Normal densities on 4 levels scaled to [0, 1]: −log P(x) = −Σ log ∫ over the bin, by the normal law's cdf.

    One draw lies above it in the mean, by 10 standard errors or more; 20000 draws hit it within 0.05, 6 of them.
    """
    law = Normal(torch.tensor(0.4), torch.tensor(0.15))
    levels = 4
    x = torch.tensor([[0, 1], [2, 3], [1, 1]])
    mass = law.cdf((x + 1) / levels) - law.cdf(x / levels)
    exact = -mass.log().sum(1) / (2 * math.log(2))

    def log_prob(y):
        return law.log_prob(y).sum(1)

    many = dequantised_nll(log_prob, x, levels, draws=20000, generator=generator)
    assert close(bits_per_dim(many, 2, levels=levels, width=1.0), exact, 0.05)
    single = dequantised_nll(log_prob, x.repeat(20000, 1), levels, generator=generator).view(20000, 3)
    bound = bits_per_dim(single, 2, levels=levels, width=1.0)
    error = bound.std(0) / math.sqrt(20000)
    assert bool((bound.mean(0) > exact + 5 * error).all())


def test_the_interval_is_that_of_the_mean(generator):
    nll = 10 * torch.rand(200) + 50
    found = bits_per_dim_interval(nll, 4, levels=256, width=1.0, resamples=500, generator=generator)
    bits = nll / (4 * math.log(2)) + 8
    assert found.value == pytest.approx(float(bits.mean()), abs=1e-9)
    assert found.high - found.low == pytest.approx(3.92 * float(bits.std()) / 200**0.5, rel=0.2)


def test_float32_agrees():
    nll = torch.tensor([100.0])
    assert close(bits_per_dim(nll.float(), 64).double(), 100 / 64 / math.log(2), 1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dims": 0}, "dims must be at least 1, got 0"),
        ({"dims": 2, "levels": 256}, "levels and width belong together, got levels=256 and width=None"),
        ({"dims": 2, "levels": 1, "width": 1.0}, "levels must be at least 2, got 1"),
        ({"dims": 2, "levels": 4, "width": 0.0}, "width must be positive, got 0.0"),
    ],
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        bits_per_dim(torch.zeros(2), **arguments)


def test_levels_that_are_not_are_refused():
    with pytest.raises(ValueError, match=r"whole number in 0\.\.3, got values in \[0, 4\]"):
        dequantised_nll(lambda y: y.sum(1), torch.tensor([[0, 4]]), 4)
    with pytest.raises(ValueError, match=r"whole number in 0\.\.3, got values in \[0.5, 1\]"):
        dequantised_nll(lambda y: y.sum(1), torch.tensor([[0.5, 1.0]]), 4)
    with pytest.raises(ValueError, match=r"nll must have shape \(N,\)"):
        bits_per_dim_interval(torch.tensor(1.0), 2)
