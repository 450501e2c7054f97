"""Explicit Runge-Kutta solvers with fixed steps, each method a table of numbers.

An initial value problem dx/dt = f(x, t), x(t_0) = x_0 is solved on a grid t_0, t_1, …, t_N, one step an interval; the
grid may run backwards. A method with s stages is its Butcher tableau (A, b, c):

    k_i = f(x + h Σ_{j<i} a_ij k_j, t + c_i h),      x(t + h) ≈ x + h Σ_i b_i k_i.

"Solving Ordinary Differential Equations I" (Hairer, Norsett, Wanner, 1993), chapter II.1,
https://doi.org/10.1007/978-3-540-78862-1.

NOTE: the field is called as f(x, t), the order in which every network of this library is called; torchdiffeq calls
f(t, x).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reference_models.parts import validate

Field = Callable[[Tensor, Tensor], Tensor]
State = tuple[Tensor, ...]
StateField = Callable[[State, Tensor], State]
Method = Literal["euler", "midpoint", "heun", "rk4"]


@dataclass(frozen=True)
class Tableau:
    """A Butcher tableau: `a` row by row below the diagonal, weights `b`, nodes `c`; a solve errs by O(h^order)."""

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    order: int


TABLEAUS: dict[str, Tableau] = {
    "euler": Tableau(a=((),), b=(1.0,), c=(0.0,), order=1),
    "midpoint": Tableau(a=((), (1 / 2,)), b=(0.0, 1.0), c=(0.0, 1 / 2), order=2),
    "heun": Tableau(a=((), (1.0,)), b=(1 / 2, 1 / 2), c=(0.0, 1.0), order=2),
    "rk4": Tableau(
        a=((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
        b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
        c=(0.0, 1 / 2, 1 / 2, 1.0),
        order=4,
    ),
}


def _advance(state: State, slopes: list[State], weights: tuple[float, ...], h: Tensor) -> State:
    """x + h Σ_i w_i k_i for every tensor of the state; weights of zero cost nothing."""
    moved = list(state)
    for weight, slope in zip(weights, slopes, strict=True):
        if weight != 0.0:
            moved = [x + h.to(x.dtype) * weight * k for x, k in zip(moved, slope, strict=True)]
    return tuple(moved)


def step(field: StateField, state: State, t: Tensor, h: Tensor, tableau: Tableau) -> State:
    """One step of size `h` (may be negative) from time `t`."""
    slopes: list[State] = []
    for row, node in zip(tableau.a, tableau.c, strict=True):
        slopes.append(field(_advance(state, slopes, row, h), t + node * h))
    return _advance(state, slopes, tableau.b, h)


def _grid(t: Tensor) -> Tensor:
    if t.ndim != 1 or t.numel() < 2:
        raise ValueError(f"t must be a grid of at least two times, got shape {tuple(t.shape)}")
    steps = t.detach().diff()
    if not (bool((steps > 0).all()) or bool((steps < 0).all())):
        raise ValueError(f"t must rise or fall strictly, got {t.tolist()}")
    return t


def odeint_states(field: StateField, state: State, t: Tensor, method: Method = "rk4") -> list[State]:
    """Solve for a tuple of tensors that move together.

    Args:
        field: f(state, t) -> one slope a tensor of the state, of its shape; t is a tensor of shape ().
        state: the tensors at t[0], of any shapes.
        t: the grid, shape (N + 1,), strictly rising or falling.
        method: a name of TABLEAUS.

    Returns:
        The states at every time of the grid, N + 1 of them, the first being `state`.
    """
    validate.one_of("method", method, tuple(TABLEAUS))
    tableau = TABLEAUS[method]
    grid = _grid(t)
    states = [state]
    for i in range(len(grid) - 1):
        states.append(step(field, states[-1], grid[i], grid[i + 1] - grid[i], tableau))
    return states


def odeint(f: Field, x: Tensor, t: Tensor, method: Method = "rk4") -> Tensor:
    """Solve dx/dt = f(x, t) from x(t[0]) = x, one step of the method an interval of the grid.

    Args:
        f: the field, called as f(x, t) with x of the shape given here and t of shape (); returns dx/dt, x's shape.
        x: the state at t[0], any shape.
        t: the grid, shape (N + 1,), strictly rising or falling: torch.linspace(0, 1, N + 1) takes N steps.
        method: "euler", "midpoint", "heun" or "rk4".

    Returns:
        The whole trajectory, shape (N + 1, *x.shape); [-1] is the state at t[-1]. Gradients flow through every step.

    Raises:
        ValueError: for a grid that is not strictly monotone, or an unknown method.
    """

    def field(state: State, time: Tensor) -> State:
        return (f(state[0], time),)

    return torch.stack([states[0] for states in odeint_states(field, (x,), t, method)])
