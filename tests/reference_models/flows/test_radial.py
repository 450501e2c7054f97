"""Radial layers: the determinant of eq. 14, the constraint, and the quadratic inverse."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch

from reference_models.flows.radial import Radial, RadialFlow
from tests.reference_models.helpers import close, log_abs_det, numpy


def layer(dim: int, raw_beta: float) -> Radial:
    radial = Radial(dim)
    with torch.no_grad():
        radial.log_alpha.fill_(0.4)
        radial.raw_beta.fill_(raw_beta)
    return radial


@pytest.mark.parametrize("raw_beta", [-6.0, -0.5, 4.0])
@pytest.mark.parametrize("dim", [1, 4])
def test_the_determinant_is_that_of_the_jacobian_for_contraction_and_expansion(dim: int, raw_beta: float) -> None:
    radial = layer(dim, raw_beta)
    x = 2 * torch.randn(6, dim)
    z, logdet = radial(x)
    assert close(logdet, log_abs_det(lambda one: radial(one)[0], x), 1e-9)
    assert close(radial.inverse(z)[0], x, 1e-9)


def test_beta_stays_above_minus_alpha() -> None:
    """β̂ = -α + log(1 + e^β)."""
    for raw_beta in (-30.0, 0.0, 3.0):
        alpha, beta = layer(2, raw_beta).alpha_beta()
        assert close(alpha + beta, torch.as_tensor(np.logaddexp(0, raw_beta)), 1e-14)
        assert close(alpha, torch.as_tensor(np.exp(0.4)), 1e-14)


def test_the_map_is_the_paper_s() -> None:
    """z + β (z - z₀) / (α + ‖z - z₀‖) by NumPy."""
    radial = layer(3, 1.0)
    alpha, beta = (float(part) for part in radial.alpha_beta())
    x, centre = torch.randn(5, 3), numpy(radial.z_0)
    away = numpy(x) - centre
    expected = numpy(x) + beta * away / (alpha + np.linalg.norm(away, axis=1, keepdims=True))
    assert np.allclose(numpy(radial(x)[0]), expected, atol=1e-12)


@pytest.mark.parametrize("raw_beta", [-5.0, 3.0])
def test_the_inverse_finds_the_radius_that_scipy_finds(raw_beta: float) -> None:
    radial = layer(2, raw_beta)
    alpha, beta = (float(part) for part in radial.alpha_beta())
    z = torch.randn(2)
    R = float((z - radial.z_0).norm())
    r = scipy.optimize.brentq(lambda r: r * (1 + beta / (alpha + r)) - R, 0, 50, xtol=1e-14)
    x, _ = radial.inverse(z)
    assert abs(float((x - radial.z_0).norm()) - r) < 1e-11


def test_the_centre_stays_and_has_finite_gradients() -> None:
    radial = layer(3, 2.0)
    centre = radial.z_0.detach().clone().requires_grad_()
    z, logdet = radial(centre)
    assert close(z, centre.detach(), 1e-12)
    (gradient,) = torch.autograd.grad(z.sum() + logdet, centre)
    assert bool(gradient.isfinite().all())
    assert close(radial.inverse(z.detach())[0], centre.detach(), 1e-12)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        RadialFlow(2, 0)
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        Radial(0)
