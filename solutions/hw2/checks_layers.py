"""Homework 2, hidden checks of tasks 2.1 to 2.3: planar maps, masks and couplings."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from autograder.checks import (
    AffinePair,
    Wrong,
    assert_close,
    assert_dtype,
    assert_passes,
    assert_shape,
    assert_tuple,
    dense_pair,
)

from ..common.draws import F64, bits, normal, randint
from .properties import assert_map, assert_undoes

BOTH_WAYS = (-20.0, -5.0, -1.2, -0.3, 2.0, 20.0)  # values of w · u


def planar_weights(rng, D, along):
    """w of any length, and a u with w · u = along that is not parallel to it."""
    w = (0.4 + 1.6 * torch.rand((), generator=rng, dtype=F64)) * F.normalize(normal(rng, D), dim=0)
    across = normal(rng, D)
    return across + (along - w @ across) * w / (w @ w), w


def hat(u, w):
    a = u @ w
    return u + (F.softplus(a) - 1 - a) * w / (w @ w)


@pytest.mark.graded("planar", points=0.3)
def test_planar_u_hat(student, rng):
    """û moves along w only, to wᵀû = −1 + softplus(wᵀu)."""
    for along in BOTH_WAYS:
        for D in (3, 1, 6):
            u, w = planar_weights(rng, D, along)
            other = {
                "divided by the length of w, not by its square": u + (hat(u, w) - u) * w.norm(),
                "u is returned as it was": u,
            }
            what = "`planar_u_hat`"
            value = student.planar_u_hat(u, w)
            assert_close(value, hat(u, w), what, alternatives=other if D > 1 else None)
            assert_dtype(value, F64, what)


@pytest.mark.graded("planar", points=0.45)
def test_planar_map_and_its_volume(student, rng):
    """z follows the formula with û, and logdet is the measured one, for u on either side of the bound."""
    for along in BOTH_WAYS:
        D = (1, 3, 6)[randint(rng, 0, 2)]
        u, w = planar_weights(rng, D, along)
        b = normal(rng)
        x = 2 * normal(rng, 40, D)
        x = x[(x @ w + b).abs() >= 0.1][:8]  # nearer, the determinant cancels
        expected = x + torch.tanh(x @ w + b)[:, None] * hat(u, w)
        other = {"u itself is used, not û": x + torch.tanh(x @ w + b)[:, None] * u}
        assert_map(student.planar_forward, x, u, w, b, expected=expected, what="`planar_forward`", alternatives=other)


@pytest.mark.graded("coupling-masks", points=0.3)
def test_masks_of_many_shapes(student, rng):
    """Checkerboards and halves of channels, for odd and unequal sides and for vectors; parities are complementary."""
    odd, even = 2 * randint(rng, 1, 3) + 1, 2 * randint(rng, 1, 3)
    shapes = [(1, odd, even), (3, even, odd), (2, 3, 3), (1, 1, 4)]
    for parity in (0, 1):
        for C, H, W in shapes:
            board = (torch.arange(H)[:, None] + torch.arange(W) + parity) % 2
            assert_mask(student, "checkerboard", (C, H, W), parity, board.float().expand(C, H, W))
        for shape in [(1, 2, 3), (2, odd, even), (3, 2, 2), (5, 1, 3), (2,), (5,), (even,)]:
            half = torch.zeros(shape)
            half[: shape[0] // 2] = 1
            assert_mask(student, "channel", shape, parity, half if parity == 0 else 1 - half)


def assert_mask(student, kind, shape, parity, expected):
    what = f'`coupling_mask("{kind}", {shape}, {parity})`'
    mask = assert_shape(student.coupling_mask(kind, shape, parity), shape, what)
    assert_dtype(mask, torch.float32, what)
    wrong = int((mask != expected).sum())
    if wrong:
        hint = "the parity is exchanged" if torch.equal(mask, 1 - expected) else None
        raise Wrong(f"{what} is wrong at {wrong} of {expected.numel()} places", hint=hint)


@pytest.mark.graded("coupling-masks", points=0.25)
def test_squeeze_puts_every_pixel_in_its_place(student, rng):
    """Every number of images with one to three channels and unequal sides, both ways."""
    for C, H, W in ((1, 4, 2), (2, 2, 6), (3, 4, 4)):
        x = torch.arange(2.0 * C * H * W)[torch.randperm(2 * C * H * W, generator=rng)].reshape(2, C, H, W)
        small = torch.stack([x[:, c, r::2, k::2] for c in range(C) for r in (0, 1) for k in (0, 1)], 1)
        for fn, given, expected, what in (
            (student.squeeze, x, small, f"`squeeze` of {C} channels"),
            (student.unsqueeze, -small, -x, f"`unsqueeze` of {4 * C} channels"),  # not what `squeeze` has just answered
        ):
            got = assert_shape(fn(given), expected.shape, what)
            wrong = int((got != expected).sum())
            if wrong:
                raise Wrong(f"{what} puts {wrong} of {expected.numel()} numbers in the wrong place")


def coupling_cases(student, rng):
    """Samples, masks and networks whose answer depends on every entry that they are shown."""
    for shape in ((5,), (2, 2, 3), (4,)):
        n = torch.Size(shape).numel()
        mask = bits(rng, *shape).float()
        mask.view(-1)[0], mask.view(-1)[-1] = 1, 0
        weights = dense_pair(n, rng)
        yield shape, mask, student.probe("AffinePair", *weights), AffinePair(*weights)


def assert_no_influence(student, fn, rng, what, direction):
    """Log-scales of up to 1000 on entries that pass change no value, though they overflow; no gradient is asked."""
    x, mask = normal(rng, 5, 2, 3), torch.tensor([[1.0, 0, 1], [0, 1, 0]], dtype=F64)
    A, B, c, d = dense_pair(6, rng)
    d = torch.where(mask.flatten() == 1, torch.tensor([8.0, 0, -8, 0, 8, 0], dtype=F64), d)  # both signs, in every row
    weights = (A, B, c, d, 1 + 999 * mask.flatten())
    log_s, t = (part * (1 - mask) for part in AffinePair(*weights)(mask * x))
    expected = x * log_s.exp() + t if direction > 0 else (x - t) * (-log_s).exp()
    result, logdet = assert_tuple(fn(x, mask, student.probe("AffinePair", *weights)), 2, f"the result of {what}")
    where = "where the network answers log-scales of up to 1000 on entries that pass"
    assert_close(result, expected, f"the result of {what}, {where},")
    assert_close(logdet, direction * log_s.sum((1, 2)), f"the logdet of {what}, {where},")


def coupled(x, mask, net):
    log_s, t = net(mask * x)
    return mask * x + (1 - mask) * (x * log_s.exp() + t)


@pytest.mark.graded("coupling", points=0.5)
def test_coupling_forward(student, rng):
    """The formula and its volume, for a network that answers on entries that pass, too."""
    what = "`coupling_forward`"
    for shape, mask, net, known in coupling_cases(student, rng):
        x = normal(rng, 7, *shape)
        log_s, t = known(mask * x)
        other = {
            "first multiply by e^s, then add t": mask * x + (1 - mask) * (x + t) * log_s.exp(),
            "the network sees entries that it should not": mask * x
            + (1 - mask) * (x * known(x)[0].exp() + known(x)[1]),
            "the mask is used the other way round": coupled(x, 1 - mask, known),
        }
        assert_map(
            student.coupling_forward, x, mask, net, expected=coupled(x, mask, known), what=what, alternatives=other
        )
        assert_passes(student.coupling_forward, x, mask, mask, net, what=what)
    ones = torch.ones(shape, dtype=F64)
    assert_map(student.coupling_forward, x, ones, net, expected=x, what=f"{what} with a mask of ones")
    scale, shift = known(torch.zeros_like(x))
    assert_map(
        student.coupling_forward,
        x,
        0 * ones,
        net,
        expected=x * scale.exp() + shift,
        what=f"{what} with a mask of zeros",
    )
    assert_no_influence(student, student.coupling_forward, rng, what, 1)


@pytest.mark.graded("coupling", points=0.45)
def test_coupling_inverse(student, rng):
    """It undoes the coupling at any noise, with the volume of its own direction."""
    what = "`coupling_inverse`"
    for shape, mask, net, known in coupling_cases(student, rng):
        z = normal(rng, 7, *shape)
        log_s, t = known(mask * z)
        expected = mask * z + (1 - mask) * (z - t) * (-log_s).exp()
        other = {
            "first subtract t, then divide by e^s": mask * z + (1 - mask) * (z * (-log_s).exp() - t),
            "the network sees entries that it should not": mask * z
            + (1 - mask) * (z - known(z)[1]) * (-known(z)[0]).exp(),
        }
        assert_map(student.coupling_inverse, z, mask, net, expected=expected, what=what, alternatives=other)
    assert_undoes(
        student.coupling_forward,
        student.coupling_inverse,
        normal(rng, 7, *shape),
        z,
        mask,
        net,
        what=what,
        undone_by="`coupling_forward`",
    )
    assert_no_influence(student, student.coupling_inverse, rng, what, -1)
