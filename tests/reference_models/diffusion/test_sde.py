"""The three SDEs against their moment equations, solved by SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad, solve_ivp

from reference_models.diffusion.sde import SDE, VE, VP, SubVP
from tests.reference_models.helpers import close, numpy

SDES = [VP(0.3, 9.0), SubVP(0.3, 9.0), VE(0.2, 6.0)]


def moments(sde: SDE, start: float, end: float) -> tuple[float, float]:
    """Factor of the mean and variance added from `start` to `end`: m' = f m, v' = 2 f v + g²."""

    def rates(t: float, state: np.ndarray) -> list[float]:
        time = torch.tensor(t)
        f, g = float(sde.drift_rate(time)), float(sde.diffusion(time))
        return [f * state[0], 2 * f * state[1] + g**2]

    solution = solve_ivp(rates, (start, end), [1.0, 0.0], rtol=1e-10, atol=1e-12)
    return float(solution.y[0, -1]), float(solution.y[1, -1])


@pytest.mark.parametrize("sde", SDES)
def test_marginals_solve_the_moment_equations(sde):
    for t in (0.05, 0.4, 1.0):
        mean, variance = moments(sde, 0.0, t)
        q = sde.marginal(torch.tensor([2.0]), torch.tensor(t))
        assert math.isclose(float(q.mean), 2.0 * mean, rel_tol=1e-7)
        assert math.isclose(float(q.variance), variance, rel_tol=1e-7)


@pytest.mark.parametrize("sde", SDES)
def test_transitions_solve_the_moment_equations(sde):
    for s, t in ((0.1, 0.2), (0.3, 0.9)):
        r, q = sde.transition(torch.tensor(t), torch.tensor(s))
        mean, variance = moments(sde, s, t)
        assert math.isclose(float(r), mean, rel_tol=1e-7)
        assert math.isclose(float(q), variance, rel_tol=1e-7)


@pytest.mark.parametrize("sde", SDES)
def test_at_time_zero_there_is_no_noise(sde):
    zero = torch.zeros(())
    assert float(sde.sigma(zero)) == 0.0
    assert float(sde.a(zero)) == 1.0


def test_coefficients_are_those_of_the_paper():
    """Eq. 9, 11 and 12, written out at t = 0.3; VE's g² is the derivative of ν²."""
    t = torch.tensor(0.3)
    beta = 0.3 + 0.3 * 8.7
    integral, _ = quad(lambda u: 0.3 + u * 8.7, 0.0, 0.3)
    for sde, g2 in ((SDES[0], beta), (SDES[1], beta * (1 - math.exp(-2 * integral)))):
        assert math.isclose(float(sde.drift_rate(t)), -0.5 * beta, rel_tol=1e-12)
        assert math.isclose(float(sde.diffusion(t)) ** 2, g2, rel_tol=1e-12)
    derivative = ((0.2 * 30 ** (0.3 + 1e-6)) ** 2 - (0.2 * 30 ** (0.3 - 1e-6)) ** 2) / 2e-6
    assert math.isclose(float(SDES[2].diffusion(t)) ** 2, derivative, rel_tol=1e-8)
    assert float(SDES[2].drift_rate(t)) == 0.0


def test_sampling_starts_from_the_noise_of_the_end():
    assert VP().prior_std == 1.0
    assert SubVP().prior_std == 1.0
    assert float(VP().sigma(torch.ones(()))) == pytest.approx(1.0, abs=1e-4)
    assert VE(0.2, 6.0).prior_std == pytest.approx(float(VE(0.2, 6.0).sigma(torch.ones(()))))


def test_vp_is_the_limit_of_ddpm():
    """A thousand steps of the linear schedule from 1e-4 to 0.02 keep nearly what VP(0.1, 20) keeps."""
    alpha_bars = (1 - torch.linspace(1e-4, 0.02, 1000)).cumprod(0)
    t = torch.arange(1, 1001) / 1000
    assert float((VP().a(t).square() - alpha_bars).abs().max()) < 2e-3


@pytest.mark.parametrize("sde", SDES)
def test_reverse_drifts_by_hand(sde):
    x, score, t = torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2), torch.tensor([0.1, 0.5, 0.9])
    f, g = sde.drift_rate(t).reshape(3, 1, 1, 1), sde.diffusion(t).reshape(3, 1, 1, 1)
    assert close(sde.drift(x, t), f * x, 1e-12)
    assert close(sde.reverse_drift(x, t, score), f * x - g**2 * score, 1e-10)
    assert close(sde.flow_drift(x, t, score), f * x - g**2 * score / 2, 1e-10)
    assert close(sde.flow_drift(x[1], t[1], score[1]), (f * x - g**2 * score / 2)[1], 1e-10)
    q = sde.marginal(x, t)
    assert close(q.mean, sde.a(t).reshape(3, 1, 1, 1) * x, 1e-12)


@pytest.mark.parametrize("sde", SDES)
def test_the_reverse_sde_keeps_the_marginals(sde):
    """Along dx = [f x − g² ∇ log p] dt + g dw̄ the variance of Gaussian data stays that of the forward process.

    Backwards dv = −(2 (f + g²/v) v − g²)... solved by SciPy from t = 1 down, for s² = 0.5.
    """
    s2 = 0.5

    def variance(t: float) -> float:
        time = torch.tensor(t)
        return float(sde.a(time) ** 2 * s2 + sde.sigma(time) ** 2)

    def rates(t: float, v: np.ndarray) -> np.ndarray:
        x, time = torch.ones(1), torch.tensor(t)
        slope = float(sde.reverse_drift(x, time, -x / variance(t)))  # the drift is linear in x
        return 2 * slope * v - float(sde.diffusion(time)) ** 2  # noise adds when time falls

    solution = solve_ivp(rates, (1.0, 0.2), [variance(1.0)], rtol=1e-9, atol=1e-12)
    assert math.isclose(float(solution.y[0, -1]), variance(0.2), rel_tol=1e-6)


def test_float32_keeps_the_digits_of_small_times():
    for sde in SDES:
        t = torch.tensor([1e-5, 1e-3])
        rough = sde.sigma(t.float())
        assert rough.dtype == torch.float32
        assert np.allclose(numpy(rough), numpy(sde.sigma(t)), rtol=1e-5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="beta_0 must be positive, got 0"):
        VP(0.0, 1.0)
    with pytest.raises(ValueError, match="beta_1 must be at least 2"):
        SubVP(2.0, 1.0)
    with pytest.raises(ValueError, match="nu_1 must exceed nu_0, got 1"):
        VE(2.0, 1.0)
    with pytest.raises(ValueError, match=r"from s to a later t, got s = 0\.5 and t = 0\.25"):
        VP().transition(torch.tensor(0.25), torch.tensor(0.5))
