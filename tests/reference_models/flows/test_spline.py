"""Rational-quadratic splines: zuko's transform from the same knots, slopes by autograd, tails of the identity."""

from __future__ import annotations

import pytest
import torch
import zuko
from torch import Tensor

from reference_models.flows.spline import NSF, Knots, SplineCoupling, knots_of, spline, spline_inverse
from tests.reference_models.helpers import close, jacobian, log_abs_det, perturb

B = 2.5


def knots(*shape: int, bins: int = 5) -> Knots:
    return knots_of(2 * torch.randn(*shape, 3 * bins - 1), B)


def zuko_spline(k: Knots) -> zuko.transforms.MonotonicRQSTransform:
    """zuko's transform on our knots, past its own way of making them."""
    bins = k.x.shape[-1] - 1
    shape = k.x.shape[:-1]
    theirs = zuko.transforms.MonotonicRQSTransform(
        torch.zeros(*shape, bins), torch.zeros(*shape, bins), torch.zeros(*shape, bins - 1), bound=B
    )
    theirs.horizontal, theirs.vertical, theirs.derivatives = k.x, k.y, k.delta
    return theirs


def test_zuko_s_spline_agrees_in_both_directions_inside_and_outside() -> None:
    k = knots(400)
    x = 8 * torch.rand(400) - 4
    y, log_slope = spline(x, k, B)
    theirs, theirs_log_slope = zuko_spline(k).call_and_ladj(x)
    assert close(y, theirs, 1e-10)
    assert close(log_slope, theirs_log_slope, 1e-9)
    back, log_slope_back = spline_inverse(y, k, B)
    assert close(back, zuko_spline(k)._inverse(y), 1e-7)
    assert close(back, x, 1e-9)
    assert close(log_slope_back, -log_slope, 1e-8)
    assert 50 < int((x.abs() > B).sum()) < 350


def test_the_log_slope_is_the_derivative() -> None:
    k = knots(60)
    x = (6 * torch.rand(60) - 3).requires_grad_()
    y, log_slope = spline(x, k, B)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert close(log_slope, slope.log(), 1e-9)
    z = y.detach().requires_grad_()
    x_back, log_slope_back = spline_inverse(z, k, B)
    (slope_back,) = torch.autograd.grad(x_back.sum(), z)
    assert close(log_slope_back, slope_back.log(), 1e-9)


def test_the_spline_passes_through_its_knots_with_their_slopes() -> None:
    k = knots(bins=6)
    inner = k.x[1:-1].clone().requires_grad_()
    y, log_slope = spline(inner, Knots(*(part.expand(5, -1) for part in (k.x, k.y, k.delta))), B)
    assert close(y, k.y[1:-1], 1e-12)
    assert close(log_slope.exp(), k.delta[1:-1], 1e-9)


def test_the_knots_rise_from_corner_to_corner_and_meet_the_tails_with_slope_one() -> None:
    k = knots(20)
    for side in (k.x, k.y):
        assert close(side[:, 0], torch.full((20,), -B), 0.0)
        assert close(side[:, -1], torch.full((20,), B), 0.0)
        assert float(side.diff().min()) >= 2 * B * 1e-3 - 1e-12
    assert close(k.delta[:, [0, -1]], torch.ones(20, 2), 0.0)
    assert float(k.delta.min()) >= 1e-3


def test_no_network_output_is_the_identity() -> None:
    k = knots_of(torch.zeros(9, 3 * 4 - 1), B)
    x = torch.linspace(-4, 4, 9)
    y, log_slope = spline(x, k, B)
    assert close(y, x, 1e-12)
    assert close(log_slope, torch.zeros(9), 1e-12)


def test_the_spline_is_continuous_with_its_tails() -> None:
    k = Knots(*(part.expand(4, -1) for part in (lambda q: (q.x, q.y, q.delta))(knots())))
    edge = torch.tensor([-B - 1e-9, -B + 1e-9, B - 1e-9, B + 1e-9])
    y, log_slope = spline(edge, k, B)
    assert close(y, edge, 1e-7)
    assert close(log_slope, torch.zeros(4), 1e-6)


def test_at_its_ends_the_spline_comes_back_in_single_precision() -> None:
    """The last number inside, the end itself and the first outside, for 64 bins whose shares are rounded."""
    raw = torch.randn(500, 3 * 64 - 1).float()
    k = knots_of(raw, B)
    end, far = torch.tensor(B, dtype=torch.float32), torch.tensor(9.0, dtype=torch.float32)
    for x in (torch.nextafter(end, -far), end, torch.nextafter(end, far)):
        for sign in (1, -1):
            y, log_slope = spline((sign * x).expand(500), k, B)
            assert close(y, (sign * x).expand(500), 1e-5)
            assert close(log_slope, torch.zeros(500), 1e-2)
            assert close(spline_inverse(y, k, B)[0], (sign * x).expand(500), 1e-5)


@pytest.mark.parametrize("moved", [0, 1])
def test_a_coupling_bends_one_half_by_what_the_other_says(moved: int) -> None:
    coupling = perturb(SplineCoupling(5, moved, (16,), bins=4), 0.5)
    x = torch.randn(4, 5)
    z, logdet = coupling(x)
    assert torch.equal(z[:, 1 - moved :: 2], x[:, 1 - moved :: 2])
    assert float((z - x)[:, moved::2].abs().max()) > 1e-3
    assert close(logdet, log_abs_det(lambda one: coupling(one)[0], x), 1e-9)


def test_every_input_moves_every_output() -> None:
    flow = perturb(NSF(4, 3, (16,), bins=4), 0.3)

    def dependence(x: Tensor) -> Tensor:
        return jacobian(lambda one: flow.forward(one)[0], x).abs()

    assert bool((sum(dependence(x) for x in torch.randn(4, 4)) > 1e-9).all())


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="bins must be at least 2, got 1"):
        SplineCoupling(4, 0, bins=1)
    with pytest.raises(ValueError, match=r"bins must be fewer than 1000, each taking at least 0.001, got 1000"):
        SplineCoupling(4, 0, bins=1000)
    with pytest.raises(ValueError, match="bound must be positive, got 0"):
        SplineCoupling(4, 0, bound=0)
    with pytest.raises(ValueError, match="the dimension of a coupling flow must be at least 2, got 1"):
        NSF(1)
    with pytest.raises(ValueError, match="couplings must be at least 1, got 0"):
        NSF(2, 0)
