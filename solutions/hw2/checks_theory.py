"""Homework 2, hidden checks of part 1: formulas found by hand, against other ways to compute them."""

from __future__ import annotations

import math

import pytest
import torch

from autograder.checks import (
    Wrong,
    assert_close,
    assert_dtype,
    assert_mean,
    assert_shape,
    assert_tuple,
    call,
    cell_log_probability,
    cell_mean_log_density,
    exponential_bias,
)

from ..common.draws import F64, normal

LEVELS = 4
SLOPES = torch.tensor([3.0, -2.0], dtype=F64)  # of ln p across one cell


@pytest.mark.graded("theory-volume-gap", points=0.35)
def test_gap_of_random_covariances(student, rng):
    """The least divergence of volume-preserving maps, for covariances of one to five rows."""
    for D in (1, 2, 3, 5):
        root = normal(rng, D, D) + 1.5 * torch.eye(D, dtype=F64)
        cov = root @ root.T / 3 + 0.1 * torch.eye(D, dtype=F64)
        expected, other = (
            gap(cov, 1 / D),
            {
                "this takes the whole determinant where its D-th root belongs": gap(cov, 1.0),
                "this is the other divergence, of the model from the data": gap(torch.linalg.inv(cov), 1 / D),
                "a factor D is missing": gap(cov, 1 / D) / D,
            },
        )
        what = f"`volume_preserving_gap` of a {D} × {D} matrix"
        assert_close(student.volume_preserving_gap(cov), expected, what, alternatives=other if D > 1 else None)
        unit = cov / torch.linalg.det(cov) ** (1 / D)
        assert_close(student.volume_preserving_gap(unit), 0.0, f"{what} with determinant 1", atol=1e-10)


def gap(cov, power):
    log_g = power * torch.logdet(cov)
    return len(cov) / 2 * (log_g.exp() - 1 - log_g)


@pytest.mark.graded("theory-gaussianise", points=0.75)
def test_gaussianise_of_random_mixtures(student, rng):
    """Value and log-derivative of the increasing map, for mixtures of one to four components."""
    for K in (3, 1, 4, 2):
        weights = (0.2 + torch.rand(K, generator=rng, dtype=F64)) ** 2
        weights = weights / weights.sum()
        means, stds = 3 * normal(rng, K), 0.4 + torch.rand(K, generator=rng, dtype=F64)
        component = torch.multinomial(weights, 60, replacement=True, generator=rng)
        x = means[component] + stds[component] * normal(rng, 60).clamp(-3, 3)
        z, log_p = quantile(x, weights, means, stds)
        keep = z.abs() <= 4
        x, z, logdet = x[keep], z[keep], (log_p + z.square() / 2 + 0.5 * math.log(2 * math.pi))[keep]
        answer = call(student.gaussianise, x, weights, means, stds)
        got, said = assert_tuple(answer, 2, "the result of `gaussianise`", names=("z", "logdet"))
        assert_close(got, z, f"z of `gaussianise` for {K} components")
        other = {
            "the sign of the logarithm is the other one": -logdet,
            "this is ln p(x): the density of z belongs to it": log_p[keep],
            "this is the derivative, not its logarithm": logdet.exp(),
        }
        assert_close(said, logdet, f"logdet of `gaussianise` for {K} components", alternatives=other)
        assert_dtype(said, F64, "logdet of `gaussianise`")


def quantile(x, weights, means, stds):
    u = (x[:, None] - means) / stds
    z = torch.special.ndtri((weights * torch.special.ndtr(u)).sum(1))
    terms = weights.log() - stds.log() - u.square() / 2 - 0.5 * math.log(2 * math.pi)
    return z, terms.logsumexp(1)


@pytest.mark.graded("theory-bits", points=0.2)
def test_bits_with_one_draw(student, rng):
    """A constant density costs log₂ L bits whatever the noise; with one draw the mean is that of ln p over the cell."""
    for n_levels, n_draws in ((17, 1), (2, 3), (256, 5)):
        x = torch.randint(0, n_levels, (3, 5), generator=rng).to(F64)
        flat = student.probe("Linear", torch.zeros(5, dtype=F64), 0.0)
        value = student.dequantised_bits(flat, x, n_levels, n_draws)
        assert_close(value, torch.full((3,), math.log2(n_levels), dtype=F64), f"`dequantised_bits`, {n_levels} levels")
    x, bits, _, upper = slanted(student, rng, 1)
    assert_mean(bits - upper, 0.0, bound=1.0, what="`dequantised_bits` with one draw, less its expectation,")
    if len(bits.unique()) < len(bits) // 2:
        raise Wrong("`dequantised_bits` uses the same noise for several rows")


@pytest.mark.graded("theory-bits", points=0.15)
def test_bits_with_many_draws(student, rng):
    """With 64 draws the bits are near those of the probability itself: the mean is taken before the logarithm."""
    _, bits, exact, upper = slanted(student, rng, 64)
    off = float(bits.mean() - exact.mean())
    if not abs(off) <= 0.03:
        hint = "this is the mean of logarithms: take the logarithm of the mean over the draws"
        near = abs(float(bits.mean() - upper.mean())) < 0.05
        raise Wrong(
            f"`dequantised_bits` with 64 draws is off by {off:+.3f} bits on average from the probability of the cell "
            "(accepted 0.03)",
            hint=hint if near else None,
        )


def slanted(student, rng, n_draws):
    """Bits of 4000 pictures under ln p(y) = weight · y + c, and what they should be with all draws and with one."""
    weight = LEVELS * SLOPES[torch.randperm(2, generator=rng)]
    net = student.probe("Linear", weight, exponential_bias(weight))
    x = torch.randint(0, LEVELS, (4000, 2), generator=rng).to(F64)
    bits = assert_shape(student.dequantised_bits(net, x, LEVELS, n_draws), (4000,), "`dequantised_bits`")
    assert_dtype(bits, F64, "`dequantised_bits` of float64 pictures")
    unit = 2 * math.log(2)
    exact = -cell_log_probability(x, weight, LEVELS) / unit
    upper = (2 * math.log(LEVELS) - cell_mean_log_density(x, weight, LEVELS)) / unit
    return x, bits, exact, upper
