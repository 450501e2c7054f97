"""Homework 2, hidden checks of tasks 2.7 to 2.9: MAF, IAF, dequantisation and the logit."""

from __future__ import annotations

import math

import pytest
import torch

from autograder.checks import (
    TriangularPair,
    Wrong,
    assert_close,
    assert_dtype,
    assert_shape,
    assert_standard_normal,
    triangular_pair,
)

from ..common.draws import F64, normal
from .properties import assert_calls, assert_map, assert_undoes


def one_by_one(v, net, towards_data):
    """Entry after entry, the network seeing what was made so far."""
    made = torch.zeros_like(v)
    for i in range(v.shape[1]):
        mean, log_std = net(made)
        made[:, i] = (
            v[:, i] * log_std[:, i].exp() + mean[:, i] if towards_data else (v - mean)[:, i] * (-log_std[:, i]).exp()
        )
    return made


def orders(student, rng):
    for D in (4, 1, 6):
        weights = triangular_pair(D, rng)
        yield D, student.probe("TriangularPair", *weights), TriangularPair(*weights)


@pytest.mark.graded("maf", points=0.35)
def test_maf_forward(student, rng):
    """The formula, its volume, and a single call of the network."""
    what = "`maf_forward`"
    for D, net, known in orders(student, rng):
        x = normal(rng, 7, D)
        mean, log_std = known(x)
        other = {
            "multiplied by e^σ where it should be divided": (x - mean) * log_std.exp(),
            "first divided, then shifted": x * (-log_std).exp() - mean,
            "this is IAF: the network should look at the data": one_by_one(x, known, False),
            "log_std is read as the logarithm of a variance": (x - mean) * (-log_std / 2).exp(),
        }
        assert_map(student.maf_forward, x, net, expected=(x - mean) * (-log_std).exp(), what=what, alternatives=other)
        assert_calls(student, net, lambda r, x=x: student.maf_forward(x, r), 1, what, exactly=True)


@pytest.mark.graded("maf", points=0.4)
def test_maf_inverse(student, rng):
    """Undone entry after entry, at any noise, in at most D + 1 calls."""
    what = "`maf_inverse`"
    for D, net, known in orders(student, rng):
        z = normal(rng, 7, D)
        mean, log_std = known(z)
        other = {"this is one pass with the network looking at the noise, as in IAF": z * log_std.exp() + mean}
        assert_map(
            student.maf_inverse,
            z,
            net,
            expected=one_by_one(z, known, True),
            what=what,
            undone_by=student.maf_forward,
            alternatives=other if D > 1 else None,
        )
        assert_undoes(
            student.maf_forward, student.maf_inverse, normal(rng, 7, D), z, net, what=what, undone_by="`maf_forward`"
        )
        assert_calls(student, net, lambda r, z=z: student.maf_inverse(z, r), D + 1, what)


@pytest.mark.graded("iaf", points=0.3)
def test_iaf_inverse(student, rng):
    """The formula, its volume, and a single call of the network."""
    what = "`iaf_inverse`"
    for D, net, known in orders(student, rng):
        z = normal(rng, 7, D)
        mean, log_std = known(z)
        other = {
            "divided by e^σ where it should be multiplied": z * (-log_std).exp() + mean,
            "this is MAF: the network should look at the noise": one_by_one(z, known, True),
            "first shifted, then multiplied": (z + mean) * log_std.exp(),
        }
        assert_map(student.iaf_inverse, z, net, expected=z * log_std.exp() + mean, what=what, alternatives=other)
        assert_calls(student, net, lambda r, z=z: student.iaf_inverse(z, r), 1, what, exactly=True)


@pytest.mark.graded("iaf", points=0.25)
def test_iaf_forward(student, rng):
    """Undone entry after entry, at any data, in at most D + 1 calls."""
    what = "`iaf_forward`"
    for D, net, known in orders(student, rng):
        x = normal(rng, 7, D)
        mean, log_std = known(x)
        other = {"this is one pass with the network looking at the data, as in MAF": (x - mean) * (-log_std).exp()}
        assert_map(
            student.iaf_forward,
            x,
            net,
            expected=one_by_one(x, known, False),
            what=what,
            undone_by=student.iaf_inverse,
            alternatives=other if D > 1 else None,
        )
        assert_undoes(
            student.iaf_inverse, student.iaf_forward, normal(rng, 7, D), x, net, what=what, undone_by="`iaf_inverse`"
        )
        assert_calls(student, net, lambda r, x=x: student.iaf_forward(x, r), D + 1, what)


@pytest.mark.graded("dequantise", points=0.35)
def test_noise_of_dequantise(student, rng):
    """L·y − x is uniform on [0, 1), independent between entries, rows and calls; integers of any kind and shape."""
    what = "`dequantise`"
    for n_levels, shape in ((17, (2, 3)), (2, (5,)), (256, (1, 2, 2))):
        x = torch.randint(0, n_levels, (3000, *shape), generator=rng)
        answers = [student.dequantise(x.to(F64), n_levels) for _ in range(2)]
        noise = [n_levels * assert_shape(y, x.shape, what).double() - x for y in answers]
        low, high = (float(torch.stack(noise).aminmax()[k]) for k in (0, 1))
        if not (low >= -1e-9 and high <= 1 + 1e-9):
            raise Wrong(
                f"{what} should add noise between 0 and 1 to a pixel, before it divides by the number of levels; "
                f"times {n_levels}, less x, yours lies between {low:.3g} and {high:.3g}"
            )
        same = torch.special.ndtri(torch.stack(noise).clamp(1e-12, 1 - 1e-12))
        assert_standard_normal(list(same), what=f"the noise of {what}, sent through Φ⁻¹,")
        assert_dtype(answers[0], F64, f"{what} of float64")
        assert_dtype(student.dequantise(x[:3].float(), n_levels), torch.float32, f"{what} of float32")
        assert_dtype(student.dequantise(x[:3], n_levels), torch.float32, f"{what} of integers")


@pytest.mark.graded("dequantise", points=0.4)
def test_logit_and_its_inverse(student, rng):
    """Formula, volume and inverse for several α and the default, also at 0 and 1 and beyond."""
    for shape in ((3,), (1, 2, 2)):
        for alpha in ((), (0.05,), (0.2,)):
            a = alpha[0] if alpha else 0.05
            y = torch.rand(6, *shape, generator=rng, dtype=F64)
            y.view(-1)[0], y.view(-1)[-1] = 0.0, 1.0
            s = a + (1 - 2 * a) * y
            named = f" with alpha = {a}" if alpha else ""
            assert_map(student.logit_forward, y, *alpha, expected=torch.logit(s), what=f"`logit_forward`{named}")
            z = 3 * normal(rng, 6, *shape)
            z.view(-1)[0], z.view(-1)[-1] = -10.0, 10.0
            back, what = (z.sigmoid() - a) / (1 - 2 * a), f"`logit_inverse`{named}"
            other = {"clamped to [0, 1]: no bijection any more": back.clamp(0, 1)}
            assert_map(student.logit_inverse, z, *alpha, expected=back, what=what, alternatives=other)
            half = torch.full((2, *shape), 0.5, dtype=F64)
            n = half[0].numel()
            said = torch.full((2,), n * (math.log(1 - 2 * a) + 2 * math.log(2)), dtype=F64)
            assert_close(student.logit_forward(half, *alpha)[1], said, f"logdet of `logit_forward`{named} at y = ½")
