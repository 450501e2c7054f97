"""Planar layers: the paper's determinant and its constraint, on both sides of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
import torch

from reference_models.flows.planar import Planar, PlanarFlow
from tests.reference_models.helpers import close, jacobian, log_abs_det, numpy


def layer(dim: int, wu: float) -> Planar:
    """A layer whose raw u has wᵀu as asked."""
    planar = Planar(dim)
    with torch.no_grad():
        u, w, _ = planar.raw.split((dim, dim, 1))
        w.copy_(torch.randn(dim))
        u.copy_(torch.randn(dim))
        u += (wu - w @ u) * w / (w @ w)
        planar.raw[-1] = 0.3
    return planar


@pytest.mark.parametrize("wu", [-40.0, -1.5, -0.2, 2.0])
def test_the_map_is_invertible_whatever_the_raw_parameters(wu: float) -> None:
    """wᵀû = -1 + log(1 + e^{wᵀu}) > -1, so the determinant is positive everywhere."""
    planar = layer(3, wu)
    u_hat, w, _ = planar.u_hat_w_b(None)
    assert close((u_hat * w).sum(), torch.as_tensor(np.logaddexp(0, wu) - 1), 1e-12)
    x = 3 * torch.randn(64, 3)
    z, logdet = planar(x)
    assert bool(logdet.isfinite().all())
    assert close(logdet[:4], log_abs_det(lambda one: planar(one)[0], x[:4]), 1e-9)
    if wu > -10:
        assert close(planar.inverse(z)[0], x, 1e-8)


def test_the_constraint_moves_u_along_w_only() -> None:
    planar = layer(3, -1.5)
    u, w, _ = planar.raw.split((3, 3, 1))
    u_hat, _, _ = planar.u_hat_w_b(None)
    moved = (u_hat[0] - u) / w
    assert close(moved, moved[0].expand(3), 1e-10)


def test_the_map_is_the_paper_s() -> None:
    """z + û tanh(wᵀz + b) by NumPy, and det = 1 + ûᵀψ with ψ = (1 - tanh²) w."""
    planar = layer(2, 0.7)
    u, w, b = (numpy(part)[0] for part in planar.u_hat_w_b(None))
    x = torch.randn(5, 2)
    z, logdet = planar(x)
    h = np.tanh(numpy(x) @ w + b)
    assert np.allclose(numpy(z), numpy(x) + h[:, None] * u, atol=1e-12)
    assert np.allclose(np.exp(numpy(logdet)), 1 + (1 - h**2) * (u @ w), atol=1e-12)


def test_the_inverse_solves_the_equation_that_scipy_solves() -> None:
    planar = layer(1, 3.0)
    u, w, b = (float(part.detach()) for part in planar.u_hat_w_b(None))
    z = torch.tensor([0.8])
    root = scipy.optimize.brentq(lambda x: x + u * math.tanh(w * x + b) - 0.8, -50, 50, xtol=1e-14)
    assert close(planar.inverse(z)[0].cpu(), torch.tensor([root], device="cpu"), 1e-11)


def test_gradients_pass_through_the_inverse() -> None:
    """∂x/∂z is the inverse of ∂z/∂x, and parameters receive the gradient that finite differences find."""
    planar = layer(2, 0.7)
    z = torch.randn(2)
    x = planar.inverse(z)[0].detach()
    there, back = jacobian(lambda v: planar(v)[0], x), jacobian(lambda v: planar.inverse(v)[0], z)
    assert close(there @ back, torch.eye(2), 1e-9)
    (gradient,) = torch.autograd.grad(planar.inverse(z)[0].sum(), planar.raw)
    step = 1e-6
    for i in range(5):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                planar.raw[i] += sign * step
                values.append(planar.inverse(z)[0].sum())
                planar.raw[i] -= sign * step
        assert abs(float((values[0] - values[1]) / (2 * step) - gradient[i])) < 1e-7


def test_the_paper_s_direction_samples_without_iteration() -> None:
    flow = PlanarFlow(2, 3, closed_form="sampling")
    z = torch.randn(4, 2)
    x = z
    for planar in flow.transform.transform.transforms:
        x, _ = planar(x)
    assert close(flow.inverse(z)[0], x, 1e-12)
    density = PlanarFlow(2, 3)
    z, _ = density.transform.transforms[0](x)
    assert close(
        density.forward(x)[0], density.transform.transforms[2](density.transform.transforms[1](z)[0])[0], 1e-12
    )


def test_a_condition_shifts_the_parameters() -> None:
    """With the raw parameters at zero, u, w and b are the linear map of the condition."""
    planar = Planar(2, condition_dim=1)
    with torch.no_grad():
        planar.raw.zero_()
    y = torch.tensor([[2.0]])
    u_hat, w, b = planar.u_hat_w_b(y)
    expected = 2.0 * planar.amortise.weight[:, 0]
    assert close(w[0], expected[2:4], 1e-12)
    assert close(b[0], expected[4:], 1e-12)
    assert float((u_hat * w).sum()) > -1


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        PlanarFlow(2, 0)
    with pytest.raises(ValueError, match="closed_form must be one of"):
        PlanarFlow(2, 1, closed_form="both")
