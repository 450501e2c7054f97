"""Homework 6, hidden checks of part 1: formulas found by hand, against other ways to compute them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from autograder.checks import (
    GaussianScore,
    GaussianVelocity,
    assert_close,
    assert_dtype,
    assert_shape,
    assert_tuple,
    assert_velocity,
)

from ..common.draws import F64, normal
from .properties import SHAPES, covariance, number, vp


@pytest.mark.graded("theory-velocity-code", points=0.5)
def test_velocity_of_gaussians(student, rng):
    """The conditional expectation under the joint Gaussian, at both ends too, with as many samples as dimensions."""
    for D in (1, 2, 5):
        x, mean = 2 * normal(rng, D, D), normal(rng, D)
        std = torch.where(torch.arange(D) % 2 == 0, 0.3, 1.5) + 0.3 * torch.rand(D, generator=rng, dtype=F64)
        exact = GaussianVelocity(mean, torch.diag(std.square()))
        times = (0.0, 1.0, number(rng, 0.1, 0.4), number(rng, 0.6, 0.9))
        assert_velocity(student.gaussian_velocity, exact, x, times, mean, std, tolerance=1e-9)


@pytest.mark.graded("theory-floor-code", points=0.35)
def test_floor_and_straightness_by_quadrature(student, rng):
    """Both integrals for full covariances, by Gauss–Legendre quadrature of the conditional law and of the flow map."""
    nodes, weights = np.polynomial.legendre.leggauss(300)
    for D in (1, 3, 5):
        cov, eye = covariance(rng, D), torch.eye(D, dtype=F64)
        values, vectors = torch.linalg.eigh(cov)
        least = straight = 0.0
        for node, weight in zip(nodes, weights, strict=True):
            t = (float(node) + 1) / 2
            S, cross = t**2 * cov + (1 - t) ** 2 * eye, t * cov - (1 - t) * eye
            least += weight / 2 * float((cov + eye - cross @ torch.linalg.solve(S, cross)).trace()) / D
            moving = vectors @ torch.diag((t * values - (1 - t)) * (t**2 * values + (1 - t) ** 2).rsqrt()) @ vectors.T
            way = vectors @ torch.diag(values.sqrt() - 1) @ vectors.T
            straight += weight / 2 * float((moving - way).square().sum())
        what, sizes = f"a covariance of {D} rows", {"dimensions": D} if D > 1 else None
        diagonal = {"this takes the diagonal for the eigenvalues": math.pi / 2 * cov.diagonal().sqrt().mean()}
        found = student.fm_floor(cov)
        known = diagonal if D > 1 else None
        assert_close(found, least, f"`fm_floor` of {what}", rtol=1e-8, sizes=sizes, alternatives=known)
        assert_close(student.flow_straightness(cov), straight, f"`flow_straightness` of {what}", rtol=1e-8, sizes=sizes)


@pytest.mark.graded("theory-change-code", points=0.2)
def test_times_and_scales(student, rng):
    """`vp_to_flow` on two schedules, at times in one tensor and at numbers."""
    for low, high in ((0.1, 20.0), (number(rng, 0.5, 1), number(rng, 2, 6))):
        times = [0.0, *torch.rand(4, generator=rng, dtype=F64).tolist(), 1.0]
        right = []
        for t in times:
            _, alpha, variance = vp(t, low, high)
            right.append((alpha / (alpha + math.sqrt(variance)), 1 / (alpha + math.sqrt(variance))))
        right = torch.tensor(right, dtype=F64)
        asked = [(torch.tensor(times, dtype=F64), right), *zip(times[1:4], right[1:4], strict=True)]
        for t, both in asked:
            found = assert_tuple(student.vp_to_flow(t, low, high), 2, "`vp_to_flow`", names=("tau", "scale"))
            rtol = 1e-8 if isinstance(t, torch.Tensor) else 1e-5
            for part, value, name in zip(found, both.unbind(-1), ("tau", "the scale"), strict=True):
                assert_close(part, value, f"{name} of `vp_to_flow`", rtol=rtol, atol=1e-9)


@pytest.mark.graded("theory-change-code", points=0.15)
def test_a_diffusion_follows_the_flow(student, rng):
    """The exact noise of Gaussian data, rescaled by the student's own τ and scale, is the flow matching velocity."""
    low, high, what = number(rng, 0.1, 1), number(rng, 3, 8), "`noise_to_velocity`"
    for shape in SHAPES:
        D = math.prod(shape)
        mean, cov = normal(rng, *shape), covariance(rng, D)
        score, velocity = GaussianScore(mean, cov, low, high), GaussianVelocity(mean, cov)
        x, t = normal(rng, 4, *shape), 0.2 + 0.7 * torch.rand(4, generator=rng, dtype=F64)
        wide = (4, *[1] * len(shape))
        sigma = torch.tensor([math.sqrt(vp(float(s), low, high)[2]) for s in t], dtype=F64).reshape(wide)
        with torch.no_grad():
            noise = -sigma * score(x, t)
            tau, scale = (
                assert_shape(part, (4,), "`vp_to_flow`").double() for part in student.vp_to_flow(t, low, high)
            )
            y = scale.reshape(wide) * x
            right = velocity(y, tau)
        found = student.noise_to_velocity(noise, y, tau)
        other = {"it points from the data to the noise": -right}
        assert_close(found, right, f"{what} with a time for each sample", rtol=1e-8, alternatives=other)
        one = number(rng, 0.3, 0.8)
        with torch.no_grad():
            guess = y - one * velocity(y, torch.full((4,), one, dtype=F64))  # E[noise | y]
        found = student.noise_to_velocity(guess, y, one)
        assert_close(found, (y - guess) / one, f"{what} at one time", rtol=1e-8)
        early = torch.tensor([1e-4, 1e-3, 0.01, 1.0], dtype=F64)
        found = student.noise_to_velocity(guess, y, early)
        assert_close(found, (y - guess) / early.reshape(wide), f"{what} near tau = 0 and at 1", rtol=1e-8, atol=1e-8)
        assert_dtype(student.noise_to_velocity(guess.float(), y.float(), one), torch.float32, f"{what} of float32")
