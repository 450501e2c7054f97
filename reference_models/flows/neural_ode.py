"""Neural ODE: a network as a vector field, its gradients by the adjoint method, its flow as a change of variables.

dx/dt = f(x, t; θ) is solved from t_0 to t_1. With the adjoint a(t) = ∂L/∂x(t), one more ODE, run backwards, gives all
gradients without storing the solver's steps:

    da/dt = -aᵀ ∂f/∂x (eq. 4),   ∂L/∂θ = -∫_{t_1}^{t_0} aᵀ ∂f/∂θ dt (eq. 5),   ∂L/∂t_1 = aᵀ f,  ∂L/∂t_0 = -aᵀ f.

Densities move by the instantaneous change of variables, d log p(x(t)) / dt = -tr(∂f/∂x) (eq. 8), so that for the
map x(t_0) → x(t_1) of a continuous normalizing flow log|det ∂x(t_1)/∂x(t_0)| = ∫_{t_0}^{t_1} tr(∂f/∂x) dt. Here time 0
is noise and time 1 is data: `forward` integrates from 1 to 0. The trace is exact: D derivatives a step.

"Neural Ordinary Differential Equations" (Chen, Rubanova, Bettencourt, Duvenaud, 2018), https://arxiv.org/abs/1806.07366.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.autograd.function import once_differentiable

from reference_models.flows.bases import Base
from reference_models.flows.change_of_variables import FlowDensity, Mapped, Transform
from reference_models.parts import require
from reference_models.parts.autodiff import divergence
from reference_models.parts.ode import Field, Method, State, StateField, odeint, odeint_states

Divergence = Callable[[Field, Tensor, Tensor], tuple[Tensor, Tensor]]
Solve = Callable[[StateField, State, Tensor], list[State]]


class _Adjoint(torch.autograd.Function):
    """x(t_0) → x(t_N) for a tuple of tensors; backward solves the augmented ODE (x, a, ∂L/∂θ) from t_N to t_0."""

    @staticmethod
    def forward(ctx: Any, field: StateField, solve: Solve, size: int, t: Tensor, *tensors: Tensor) -> State:
        state, parameters = tensors[:size], tensors[size:]
        end = solve(field, state, t)[-1]
        ctx.field, ctx.solve, ctx.size = field, solve, size
        ctx.save_for_backward(t, *state, *end, *parameters)
        return end

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        t, *saved = ctx.saved_tensors
        field, size = ctx.field, ctx.size
        start, end, parameters = saved[:size], saved[size : 2 * size], saved[2 * size :]

        def augmented(state: State, time: Tensor) -> State:
            """(f, -aᵀ ∂f/∂x, -aᵀ ∂f/∂θ) at (x, a, ·)."""
            with torch.enable_grad():
                x = tuple(part.detach().requires_grad_() for part in state[:size])
                slopes = field(x, time)
                a = state[size : 2 * size]
                moving = [(slope, a_i) for slope, a_i in zip(slopes, a, strict=True) if slope.requires_grad]
                products = torch.autograd.grad(
                    [slope for slope, _ in moving],
                    (*x, *parameters),
                    [a_i for _, a_i in moving],
                    allow_unused=True,
                    materialize_grads=True,
                )
            return (*(slope.detach() for slope in slopes), *(-product for product in products))

        zeros = tuple(torch.zeros_like(parameter) for parameter in parameters)
        last = ctx.solve(augmented, (*end, *grads, *zeros), t.flip(0))[-1]
        a_0, by_parameter = last[size : 2 * size], last[2 * size :]
        by_time = None
        if ctx.needs_input_grad[3]:
            by_time = torch.zeros_like(t)
            by_time[-1] = _inner(grads, field(tuple(end), t[-1]))
            by_time[0] = -_inner(a_0, field(tuple(start), t[0]))
        return (None, None, None, by_time, *a_0, *by_parameter)


def _inner(a: Sequence[Tensor], f: Sequence[Tensor]) -> Tensor:
    return sum((torch.sum(a_i * f_i) for a_i, f_i in zip(a, f, strict=True)), torch.zeros(()).to(f[0]))


def solve_states_adjoint(
    field: StateField,
    state: State,
    t: Tensor,
    parameters: Sequence[Tensor],
    method: Method = "rk4",
    *,
    tolerance: float = 1e-6,
) -> State:
    """The state at t[-1] for a tuple of tensors, differentiable by the adjoint method.

    Args:
        field: f(state, t) -> slopes, as in parts/ode.py.
        state: the tensors at t[0].
        t: the grid, shape (N + 1,); the backward solve takes it the other way.
        parameters: tensors that f depends on and that may want gradients.
        method, tolerance: a solver of parts/ode.py.
    """
    wanted = tuple(parameter for parameter in parameters if parameter.requires_grad)
    solve = partial(odeint_states, method=method, tolerance=tolerance)
    return _Adjoint.apply(field, solve, len(state), t, *state, *wanted)  # type: ignore[no-untyped-call]


def odeint_adjoint(
    f: Field,
    x: Tensor,
    t: Tensor,
    method: Method = "rk4",
    *,
    parameters: Sequence[Tensor] | None = None,
    tolerance: float = 1e-6,
) -> Tensor:
    """x(t[-1]) from x(t[0]) = x, with memory that does not grow with the number of steps.

    Args:
        f: any callable f(x, t).
        parameters: the tensors in f that receive gradients; those of f itself when it is a module.
        x: any shape.
        t: the grid, shape (N + 1,), strictly rising or falling.
        method, tolerance: a solver of parts/ode.py; "dopri5" chooses its steps anew on the way back.

    Returns:
        x's shape. Gradients reach x, the parameters and the ends of t; they are those of the continuous problem and
        differ from the gradients of the discrete solution by the solver's error.

    Raises:
        ValueError: f is not a module and no parameters are given, which would silently leave them without gradients.
        RuntimeError: by autograd, for second derivatives, which `odeint` has and the adjoint method has not.
    """

    if parameters is None:
        if not isinstance(f, nn.Module):
            raise ValueError(f"parameters must be given where f is no module, () for none, got {type(f).__name__}")
        parameters = tuple(f.parameters())

    def field(state: State, time: Tensor) -> State:
        return (f(state[0], time),)

    return solve_states_adjoint(field, (x,), t, parameters, method, tolerance=tolerance)[0]


def exact_divergence(f: Field, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """f(x, t), (N, *event), and tr(∂f/∂x), (N,): one derivative a dimension. Rows must not influence each other."""
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_()
        slope = f(x, t)
        trace = divergence(slope, x, create_graph=differentiable)
    return (slope, trace) if differentiable else (slope.detach(), trace.detach())


class ContinuousTransform(Transform):
    """The flow of an ODE: `forward` solves from t = 1 (data) to t = 0 (noise), `inverse` the other way.

    Args:
        field: f(x, t), a module acting on each row alone.
        event_shape: shape of one x.
        steps: of the solver between 0 and 1; 1 suits "dopri5", which cuts them further.
        method, tolerance: a solver of parts/ode.py; the paper's is adaptive, as "dopri5" is.
        adjoint: gradients by the adjoint method, first ones only; through the solver's steps otherwise.
    """

    def __init__(
        self,
        field: nn.Module,
        event_shape: Sequence[int],
        *,
        steps: int = 20,
        method: Method = "rk4",
        tolerance: float = 1e-6,
        adjoint: bool = True,
    ) -> None:
        super().__init__(event_shape)
        require.at_least("steps", steps, 1)
        self.field, self.steps, self.method, self.adjoint = field, steps, method, adjoint
        self.tolerance = tolerance

    def grid(self, start: float, end: float, like: Tensor) -> Tensor:
        """The times from start to end, shape (steps + 1,)."""
        return torch.linspace(start, end, self.steps + 1, device=like.device, dtype=like.dtype)

    def solve(self, x: Tensor, start: float, end: float, trace: Divergence = exact_divergence) -> Mapped:
        """x: (N, *event) at time `start` to time `end`, with ∫ tr(∂f/∂x) dt, (N,)."""

        def field(state: State, time: Tensor) -> State:
            return trace(self.field, state[0], time)

        state = (x, x.new_zeros(len(x)))
        t = self.grid(start, end, x)
        if self.adjoint:
            parameters = tuple(self.field.parameters())
            x, logdet = solve_states_adjoint(field, state, t, parameters, self.method, tolerance=self.tolerance)
        else:
            x, logdet = odeint_states(field, state, t, self.method, tolerance=self.tolerance)[-1]
        return x, logdet

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        return self.solve(x, 1.0, 0.0)

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        return self.solve(z, 0.0, 1.0)


class CNF(FlowDensity):
    """A continuous normalizing flow with the exact trace.

    Args:
        field: f(x, t), for instance TimeMLP; smooth in x.
        event_shape: shape of one x.
        steps, method, tolerance, adjoint: as for ContinuousTransform.
        base: the law at t = 0; a standard normal unless given.
    """

    transform: ContinuousTransform

    def __init__(
        self,
        field: nn.Module,
        event_shape: Sequence[int],
        *,
        steps: int = 20,
        method: Method = "rk4",
        tolerance: float = 1e-6,
        adjoint: bool = True,
        base: Base | None = None,
    ) -> None:
        flow = ContinuousTransform(field, event_shape, steps=steps, method=method, tolerance=tolerance, adjoint=adjoint)
        super().__init__(flow, base)

    @torch.no_grad()
    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """(n, *event_shape): the solution at t = 1 from the base at t = 0, no trace computed."""
        require.at_least("n", n, 1)
        if condition is not None:
            raise ValueError(f"this flow takes no condition, got one of shape {tuple(condition.shape)}")
        z = self.base.sample(n, generator=generator)
        flow = self.transform
        return odeint(flow.field, z, flow.grid(0.0, 1.0, z), flow.method, tolerance=flow.tolerance)[-1]
