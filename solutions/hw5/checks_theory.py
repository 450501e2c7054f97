"""Homework 5, hidden checks of part 1: formulas found by hand, against other ways to compute them."""

from __future__ import annotations

import math

import pytest
import torch

from autograder.checks import assert_close, assert_posterior, assert_shape, assert_tuple, call

from ..common.draws import F64, normal
from .properties import SHAPES


def number(rng, low, high):
    return low + (high - low) * float(torch.rand((), generator=rng, dtype=F64))


@pytest.mark.graded("theory-langevin-code", points=0.35)
def test_variance_after_many_steps(student, rng):
    """The variance after 1 to 10,000 steps, with tiny step sizes, and below and above the limit of stability."""
    sigma2, start = number(rng, 0.5, 2), number(rng, 0.1, 3)
    few = ((number(rng, 0.2, 1.5), 1), (2.0, 3), (number(rng, 0.2, 1.5), 7), (6.0, 3))
    many = ((3.9, 10_000), (number(rng, 1e-4, 2e-4), 2000), (number(rng, 4.05, 4.1), 1000))  # two of them far from rest
    for factor, n in (*few, *many):
        eta = factor * sigma2
        kept = (1 - factor / 2) ** 2
        rest = sigma2 / (1 - factor / 4)  # where it rests, also where that repels
        value, what = student.langevin_variance(sigma2, eta, n, start), f"`langevin_variance` after {n} steps"
        right = torch.tensor(rest + kept**n * (start - rest), dtype=F64)
        other = {
            "the noise has variance η² here": noise_squared(kept, eta, n, start),
            "the variance is multiplied by a where a² belongs": recursion(1 - factor / 2, eta, n, start),
        }
        assert_close(value, right, f"{what} of {factor:.3g} σ²", rtol=1e-9, alternatives=other if n == 7 else None)


def recursion(kept, added, n, variance):
    for _ in range(n):
        variance = kept * variance + added
    return variance


def noise_squared(kept, eta, n, variance):
    return recursion(kept, eta**2, n, variance)


@pytest.mark.graded("theory-dsm-code", points=0.35)
def test_floor_of_random_covariances(student, rng):
    """The floor of full and singular covariances, from the eigenvalues."""
    for D, rank in ((1, 1), (3, 3), (6, 6), (6, 2), (3, 0)):
        root, sigma = normal(rng, D, rank), number(rng, 0.3, 2)
        cov = root @ root.T
        eigenvalues = torch.linalg.eigvalsh(cov).clamp_min(0)
        right = (eigenvalues / (sigma**2 * (eigenvalues + sigma**2))).sum()
        what = f"`dsm_floor` of a {D} × {D} covariance of rank {rank}"
        other = {"the part without the score's own square is missing": D / sigma**2} if rank else None
        assert_close(student.dsm_floor(cov, sigma), right, what, rtol=1e-8, atol=1e-9, alternatives=other)


@pytest.mark.graded("theory-posterior-code", points=0.35)
def test_posterior_is_the_product_of_two_gaussians(student, rng):
    """Mean and variance for neighbouring and distant times and from clean data, of vectors and images."""
    for shape in SHAPES:
        x_0, x_t = normal(rng, 5, *shape), normal(rng, 5, *shape)
        pairs = {"of neighbours": (0.83, 0.81), "of distant times": (0.97, 0.02), "from clean data": (1.0, 0.4)}
        for name, (s, t) in {**pairs, "of drawn times": (number(rng, 0.6, 0.9), number(rng, 0.1, 0.5))}.items():
            answer = call(student.posterior, x_0, x_t, s, t)
            _, variance = assert_tuple(answer, 2, "the result of `posterior`", names=("mean", "variance"))
            assert_shape(variance, (), "the variance of `posterior`")
            assert_posterior(answer, x_0, x_t, s, t, asked=name, tolerance=1e-9)


@pytest.mark.graded("theory-guidance-code", points=0.35)
def test_tilted_gaussian(student, rng):
    """Mean and deviation of the tilted density, for weights inside and outside of [0, 1]."""
    m_c, m_u, s_c, s_u = number(rng, 0, 2), number(rng, -2, 0), number(rng, 0.7, 0.9), number(rng, 0.9, 1.1)
    line = torch.linspace(-60, 60, 120_001, dtype=F64)
    for w in (0.0, 1.0, 2.0, -0.5, 0.3):
        log_p = -(1 - w) * (line - m_u).square() / (2 * s_u**2) - w * (line - m_c).square() / (2 * s_c**2)
        p = log_p.softmax(0)  # the density on a grid: no formula
        mean = float((p * line).sum())
        std = math.sqrt(float((p * (line - mean).square()).sum()))
        answer = student.guided_gaussian(m_c, s_c, m_u, s_u, w)
        found = assert_tuple(answer, 2, "the result of `guided_gaussian`", names=("mean", "std"))
        mixed = {"this mixes the means, not weighted by precisions": (1 - w) * m_u + w * m_c}
        variance = {"this is the variance": std**2, "this is the precision": std**-2}
        said = f"of `guided_gaussian` at w = {w:g}"
        assert_close(found[0], mean, f"the mean {said}", atol=1e-6, alternatives=mixed if w not in (0, 1) else None)
        assert_close(found[1], std, f"the deviation {said}", atol=1e-6, alternatives=variance)
