"""Explicit Runge-Kutta solvers, each method a table of numbers.

An initial value problem dx/dt = f(x, t), x(t_0) = x_0 is solved on a grid t_0, t_1, …, t_N, one step an interval; the
grid may run backwards. A method with s stages is its Butcher tableau (A, b, c):

    k_i = f(x + h Σ_{j<i} a_ij k_j, t + c_i h),      x(t + h) ≈ x + h Σ_i b_i k_i.

"dopri5" carries a second row b̂ of one order less. Their difference estimates the error of a step,

    e = rms( h Σ_i (b_i - b̂_i) k_i / (tolerance · (1 + max(|x(t)|, |x(t + h)|))) ),

and each interval of the grid is cut into steps with e ≤ 1, the next one 0.9 e^{-1/5} times as long, but at least a
fifth and at most five times.

"Solving Ordinary Differential Equations I" (Hairer, Norsett, Wanner, 1993), chapters II.1, II.4 and II.5,
https://doi.org/10.1007/978-3-540-78862-1.

NOTE: the field is called as f(x, t), the order in which every network of this library is called; torchdiffeq calls
f(t, x).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from reference_models.parts import require

SMALLEST_SHARE = 1e-7  # of an interval, the shortest step of "dopri5"

Field = Callable[[Tensor, Tensor], Tensor]
State = tuple[Tensor, ...]
StateField = Callable[[State, Tensor], State]
Method = Literal["euler", "midpoint", "heun", "rk4", "dopri5"]


@dataclass(frozen=True)
class Tableau:
    """A Butcher tableau: `a` row by row below the diagonal, weights `b`, nodes `c`; a solve errs by O(h^order).

    b_hat: the weights of the embedded method, for methods that choose their steps.
    """

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    order: int
    b_hat: tuple[float, ...] | None = None


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
    "dopri5": Tableau(  # Dormand and Prince, 1980
        a=(
            (),
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
            (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
        ),
        b=(35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
        c=(0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
        order=5,
        b_hat=(5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40),
    ),
}


def _advance(state: State, slopes: list[State], weights: tuple[float, ...], h: Tensor) -> State:
    """x + h Σ_i w_i k_i for every tensor of the state; weights of zero cost nothing."""
    moved = list(state)
    for weight, slope in zip(weights, slopes, strict=True):
        if weight != 0.0:
            moved = [x + h.to(x.dtype) * weight * k for x, k in zip(moved, slope, strict=True)]
    return tuple(moved)


def _slopes(field: StateField, state: State, t: Tensor, h: Tensor, tableau: Tableau) -> list[State]:
    slopes: list[State] = []
    for row, node in zip(tableau.a, tableau.c, strict=True):
        slopes.append(field(_advance(state, slopes, row, h), t + node * h))
    return slopes


def step(field: StateField, state: State, t: Tensor, h: Tensor, tableau: Tableau) -> State:
    """One step of size `h` (may be negative) from time `t`."""
    return _advance(state, _slopes(field, state, t, h, tableau), tableau.b, h)


@torch.no_grad()
def _error(before: State, after: State, slopes: list[State], h: Tensor, tableau: Tableau, tolerance: float) -> float:
    """e of the module's docstring, over all numbers of the state together."""
    assert tableau.b_hat is not None
    weights = tuple(b - b_hat for b, b_hat in zip(tableau.b, tableau.b_hat, strict=True))
    nothing = tuple(torch.zeros_like(x) for x in before)
    errors = _advance(nothing, slopes, weights, h)
    scaled = [
        (e / (tolerance * (1 + torch.maximum(x.abs(), y.abs())))).flatten()
        for e, x, y in zip(errors, before, after, strict=True)
    ]
    return float(torch.cat(scaled).square().mean().sqrt())


def _adaptive(field: StateField, state: State, start: Tensor, end: Tensor, tableau: Tableau, tolerance: float) -> State:
    """From `start` to `end` in as many steps as the tolerance asks for; `done` and `share` are parts of the whole."""
    done, proposed = 0.0, 1.0
    while done < 1.0:
        if proposed < SMALLEST_SHARE:  # what is left of the interval may be less
            raise ValueError(
                f"a step fell below {SMALLEST_SHARE:g} of its interval: the field is too stiff or not finite"
            )
        share = min(proposed, 1.0 - done)
        t, h = start + done * (end - start), share * (end - start)
        slopes = _slopes(field, state, t, h, tableau)
        after = _advance(state, slopes, tableau.b, h)
        error = _error(state, after, slopes, h, tableau, tolerance)
        if error <= 1:
            state, done = after, 1.0 if share == 1.0 - done else done + share
        proposed = share * _growth(error, tableau.order)
    return state


def _growth(error: float, order: int) -> float:
    """How much longer the next step may be, between 1/5 and 5; an error that is not finite asks for the least."""
    if not error < float("inf"):
        return 0.2
    return 5.0 if error == 0 else min(5.0, max(0.2, 0.9 * error ** (-1 / order)))


def _grid(t: Tensor) -> Tensor:
    if t.ndim != 1 or t.numel() < 2:
        raise ValueError(f"t must be a grid of at least two times, got shape {tuple(t.shape)}")
    steps = t.detach().diff()
    if not (bool((steps > 0).all()) or bool((steps < 0).all())):
        raise ValueError(f"t must rise or fall strictly, got {t.tolist()}")
    return t


def odeint_states(
    field: StateField, state: State, t: Tensor, method: Method = "rk4", *, tolerance: float = 1e-6
) -> list[State]:
    """Solve for a tuple of tensors that move together.

    Args:
        field: f(state, t) -> one slope a tensor of the state, of its shape; t is a tensor of shape ().
        state: the tensors at t[0], of any shapes.
        t: the grid, shape (N + 1,), strictly rising or falling.
        method: a name of TABLEAUS.
        tolerance: of a step of "dopri5", relative and absolute; the others take no notice.

    Returns:
        The states at every time of the grid, N + 1 of them, the first being `state`.
    """
    require.one_of("method", method, tuple(TABLEAUS))
    require.positive("tolerance", tolerance)
    tableau = TABLEAUS[method]
    states = [state]
    for start, end in pairwise(_grid(t)):
        if tableau.b_hat is None:
            states.append(step(field, states[-1], start, end - start, tableau))
        else:
            states.append(_adaptive(field, states[-1], start, end, tableau, tolerance))
    return states


def odeint(f: Field, x: Tensor, t: Tensor, method: Method = "rk4", *, tolerance: float = 1e-6) -> Tensor:
    """Solve dx/dt = f(x, t) from x(t[0]) = x, one step of the method an interval of the grid ("dopri5": as many as it
    takes).

    Args:
        f: the field, called as f(x, t) with x of the shape given here and t of shape (); returns dx/dt, x's shape.
        x: the state at t[0], any shape.
        t: the grid, shape (N + 1,), strictly rising or falling: torch.linspace(0, 1, N + 1) takes N steps.
        method: "euler", "midpoint", "heun", "rk4" or "dopri5".
        tolerance: of a step of "dopri5", relative and absolute.

    Returns:
        The whole trajectory, shape (N + 1, *x.shape); [-1] is the state at t[-1]. Gradients flow through every step.

    Raises:
        ValueError: for a grid that is not strictly monotone, an unknown method, or a field that "dopri5" cannot follow.
    """

    def field(state: State, time: Tensor) -> State:
        return (f(state[0], time),)

    return torch.stack([states[0] for states in odeint_states(field, (x,), t, method, tolerance=tolerance)])
