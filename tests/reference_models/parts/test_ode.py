"""The solvers: torchdiffeq's fixed-step methods, orders of convergence, exact solutions."""

from __future__ import annotations

import math

import pytest
import torch
import torchdiffeq
from torch import Tensor

from reference_models.parts import ode
from reference_models.parts.ode import TABLEAUS, Method, Tableau, odeint, odeint_states, step
from tests.reference_models.helpers import close

METHODS: tuple[Method, ...] = ("euler", "midpoint", "heun", "rk4")  # of fixed steps


def rotating(x: Tensor, t: Tensor) -> Tensor:
    """Neither linear nor autonomous: x₁' = x₂ cos t, x₂' = -x₁ + sin(x₁ t)."""
    return torch.stack([x[..., 1] * torch.cos(t), -x[..., 0] + torch.sin(x[..., 0] * t)], dim=-1)


@pytest.mark.parametrize(("ours", "theirs"), [("euler", "euler"), ("midpoint", "midpoint"), ("heun", "heun2")])
def test_torchdiffeq_takes_the_same_steps(ours: Method, theirs: str) -> None:
    """NOTE: its "rk4" is the 3/8 rule, another method of the same order."""
    x, t = torch.randn(5, 2), torch.tensor([0.0, 0.1, 0.35, 0.4, 1.0])
    expected = torchdiffeq.odeint(lambda time, state: rotating(state, time), x, t, method=theirs)
    assert close(odeint(rotating, x, t, ours), expected, 1e-12)


def test_rk4_integrates_cubics_exactly_and_is_simpson_s_rule_in_time() -> None:
    x = torch.tensor(1.0)
    solution = odeint(lambda state, time: 4 * time**3 + state * 0, x, torch.tensor([0.0, 1.5]))
    assert close(solution[-1], torch.tensor(1 + 1.5**4), 1e-12)


def test_one_step_of_rk4_by_hand() -> None:
    """x' = x from 1 with h = 1: 1 + 1 + 1/2 + 1/6 + 1/24."""
    solution = odeint(lambda state, time: state, torch.tensor(1.0), torch.tensor([0.0, 1.0]), "rk4")
    assert close(solution[-1], torch.tensor(65 / 24), 1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_the_error_falls_with_the_order_of_the_method(method: Method) -> None:
    """Halving h divides the error by 2^order, to 15 %; the solution of x' = x cos t is e^{sin t}."""
    x = torch.tensor([1.0])
    errors = []
    for steps in (40, 80):
        grid = torch.linspace(0, 2, steps + 1)
        solution = odeint(lambda state, time: state * torch.cos(time), x, grid, method)[-1]
        errors.append(abs(float(solution) - math.exp(math.sin(2.0))))
    assert abs(math.log2(errors[0] / errors[1]) - TABLEAUS[method].order) < 0.2


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_field_is_followed_exactly_forwards_and_backwards(method: Method) -> None:
    x, v = torch.randn(3, 2), torch.tensor([1.0, -2.0])
    t = torch.tensor([0.0, 0.3, 1.0])
    trajectory = odeint(lambda state, time: v.expand_as(state), x, t, method)
    assert trajectory.shape == (3, 3, 2)
    assert close(trajectory, x + t[:, None, None] * v, 1e-12)
    back = odeint(lambda state, time: v.expand_as(state), trajectory[-1], t.flip(0), method)
    assert close(back[-1], x, 1e-12)


def test_the_adaptive_method_agrees_with_torchdiffeq_s_and_obeys_its_tolerance() -> None:
    """x' = x cos t over long intervals, forwards and backwards: the error falls with the tolerance."""
    x, t = torch.tensor([[1.0], [-2.0]]), torch.tensor([0.0, 3.0, 5.0])

    def field(state: Tensor, time: Tensor) -> Tensor:
        return state * torch.cos(time)

    exact = x * torch.exp(torch.sin(t))[:, None, None]
    theirs = torchdiffeq.odeint(lambda time, state: field(state, time), x, t, method="dopri5", rtol=1e-9, atol=1e-9)
    assert close(odeint(field, x, t, "dopri5", tolerance=1e-9), theirs, 1e-7)
    errors = [float((odeint(field, x, t, "dopri5", tolerance=tol) - exact).abs().max()) for tol in (1e-3, 1e-6, 1e-9)]
    assert errors[0] < 1e-1
    assert errors[1] < 1e-4
    assert errors[2] < 1e-7
    back = odeint(field, exact[-1], t.flip(0), "dopri5", tolerance=1e-9)
    assert close(back[-1], x, 1e-7)


def test_the_adaptive_method_takes_as_many_steps_as_its_tolerance_asks_for() -> None:
    """A bump whose integral is known; on a constant field the whole interval is one step of seven stages."""
    calls: list[float] = []

    def bump(state: Tensor, time: Tensor) -> Tensor:
        calls.append(float(time))
        return torch.exp(-((time - 0.5) ** 2) / 0.02) * torch.ones_like(state)

    x, t = torch.zeros(1), torch.tensor([0.0, 1.0])
    integral = math.sqrt(math.pi * 0.02) * math.erf(0.5 / math.sqrt(0.02))
    counts = []
    for tolerance in (1e-5, 1e-9):
        calls.clear()
        assert close(odeint(bump, x, t, "dopri5", tolerance=tolerance)[-1], torch.tensor([integral]), 10 * tolerance)
        counts.append(len(calls))
    assert counts[1] > 3 * counts[0]
    calls.clear()
    odeint(lambda state, time: calls.append(0.0) or torch.ones_like(state), x, t, "dopri5")
    assert len(calls) == 7


def test_the_two_rows_of_the_adaptive_method_have_orders_five_and_four() -> None:
    """One step of x' = x cos t: the error of the fifth-order row falls like h⁶, of the embedded one like h⁵."""
    tableau = TABLEAUS["dopri5"]
    embedded = Tableau(tableau.a, tableau.b_hat, tableau.c, 4)
    for row, order in ((tableau, 5), (embedded, 4)):
        errors = []
        for h in (0.4, 0.2):
            times = torch.tensor(0.0), torch.tensor(h)
            (x,) = step(lambda s, time: (s[0] * torch.cos(time),), (torch.tensor(1.0),), *times, row)
            errors.append(abs(float(x) - math.exp(math.sin(h))))
        assert abs(math.log2(errors[0] / errors[1]) - order - 1) < 0.5


def test_a_field_that_cannot_be_followed_is_refused() -> None:
    with pytest.raises(ValueError, match="too stiff or not finite"):
        odeint(lambda state, time: state**2, torch.tensor([1.0]), torch.tensor([0.0, 2.0]), "dopri5")


def test_what_is_left_of_an_interval_may_be_a_tiny_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a refused step, one of all but 1e-9 of the interval; the rest is no sign of a stiff field."""
    errors, growths = iter([2.0, 0.5, 0.5]), iter([1 - 1e-9, 1.0, 1.0])
    monkeypatch.setattr(ode, "_error", lambda *arguments: next(errors))
    monkeypatch.setattr(ode, "_growth", lambda error, order: next(growths))
    solution = odeint(lambda state, time: torch.ones_like(state), torch.zeros(1), torch.tensor([0.0, 1.0]), "dopri5")
    assert close(solution[-1], torch.ones(1), 1e-12)


def test_the_next_step_is_longer_by_the_order_of_the_error_within_bounds() -> None:
    """0.9 e^{-1/5} for e = 2^5 is 0.45; five times at most, a fifth at least and where the error is no number."""
    assert ode._growth(32.0, 5) == pytest.approx(0.45)
    assert [ode._growth(e, 5) for e in (0.0, 1e-9, 1e9, float("inf"), float("nan"))] == [5.0, 5.0, 0.2, 0.2, 0.2]


def test_a_tuple_moves_together() -> None:
    """x' = y, y' = -x: the circle, as a tuple and as one vector."""
    t = torch.linspace(0, 1, 9)
    x, y = torch.randn(4), torch.randn(4)
    states = odeint_states(lambda state, time: (state[1], -state[0]), (x, y), t)
    whole = odeint(lambda state, time: torch.stack([state[1], -state[0]]), torch.stack([x, y]), t)
    assert len(states) == 9
    assert close(torch.stack(states[-1]), whole[-1], 1e-14)
    assert close(states[-1][0], x * math.cos(1) + y * math.sin(1), 1e-5)


def test_gradients_flow_through_the_steps() -> None:
    """Euler on x' = a x: x_N = (1 + a h)^N, derivative N h (1 + a h)^{N-1}."""
    a = torch.tensor(0.7, requires_grad=True)
    solution = odeint(lambda state, time: a * state, torch.tensor(1.0), torch.linspace(0, 1, 6), "euler")[-1]
    (gradient,) = torch.autograd.grad(solution, a)
    assert close(gradient, torch.tensor(5 * 0.2 * (1 + 0.7 * 0.2) ** 4), 1e-12)


def test_float32_states_stay_float32_on_a_float64_grid() -> None:
    x = torch.randn(3, dtype=torch.float32)
    assert odeint(lambda state, time: -state, x, torch.linspace(0, 1, 3)).dtype == torch.float32


def test_bad_grids_and_methods_are_refused() -> None:
    x = torch.zeros(2)
    with pytest.raises(ValueError, match=r"t must rise or fall strictly, got \[0.0, 0.5, 0.25\]"):
        odeint(rotating, x, torch.tensor([0.0, 0.5, 0.25]))
    with pytest.raises(ValueError, match="t must be a grid of at least two times"):
        odeint(rotating, x, torch.tensor([0.0]))
    with pytest.raises(
        ValueError, match="method must be one of 'euler', 'midpoint', 'heun', 'rk4', 'dopri5', got 'rk5'"
    ):
        odeint(rotating, x, torch.tensor([0.0, 1.0]), "rk5")  # type: ignore[arg-type]
