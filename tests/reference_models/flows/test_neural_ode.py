"""Neural ODEs: the matrix exponential, torchdiffeq and zuko, the adjoint against backpropagation through the solver."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
import torchdiffeq
import zuko
from torch import Tensor, nn

from reference_models.flows.neural_ode import CNF, exact_divergence, odeint_adjoint
from reference_models.parts.networks import TimeMLP
from reference_models.parts.ode import odeint
from tests.reference_models.helpers import close, jacobian, numpy, perturb


class Linear(nn.Module):
    """f(x, t) = A x (1 + t)."""

    def __init__(self, dim: int, timed: bool = False) -> None:
        super().__init__()
        self.A = nn.Parameter(0.5 * torch.randn(dim, dim))
        self.timed = timed

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x @ self.A.T * (1 + t if self.timed else 1)


def network(dim: int = 3) -> TimeMLP:
    return perturb(TimeMLP(dim, (8,), dim, time_scale=2.0), 0.3)


def times(steps: int, start: float = 0.0, end: float = 1.0) -> Tensor:
    return torch.linspace(start, end, steps + 1)


def test_the_flow_of_a_linear_field_is_the_matrix_exponential() -> None:
    """From t = 1 to 0: z = e^{-A} x, log|det| = -tr A; with speed 1 + t, e^{-3A/2} and -3/2 tr A."""
    x = torch.randn(64, 3)
    for timed, integral in ((False, 1.0), (True, 1.5)):
        field = Linear(3, timed)
        flow = CNF(field, (3,), steps=40)
        z, logdet = flow.forward(x)
        A = numpy(field.A)
        assert np.allclose(numpy(z), numpy(x) @ scipy.linalg.expm(-integral * A).T, atol=1e-6)
        assert close(logdet, (-integral * field.A.diag().sum()).detach().expand(64), 1e-10)
        assert close(flow.inverse(z)[0], x, 1e-6)
        assert close(flow.forward(x[0])[1], logdet[0], 1e-12)


def test_a_flow_takes_as_many_steps_as_it_says() -> None:
    """Euler's with a linear field: z = (I - A/n)^n x from t = 1 to 0, and the log-determinant -tr A whatever n."""
    field, x = Linear(3), torch.randn(5, 3)
    for steps in (1, 4):
        z, logdet = CNF(field, (3,), steps=steps, method="euler").forward(x)
        power = torch.linalg.matrix_power(torch.eye(3) - field.A / steps, steps)
        assert close(z, x @ power.T, 1e-12)
        assert close(logdet, -field.A.trace().expand(5), 1e-12)


def test_zuko_s_free_form_flow_agrees() -> None:
    """Its adaptive solver at 1e-9 from t = 1 to 0, exact trace."""
    field = network()
    flow = CNF(field, (3,), steps=20)
    theirs = zuko.transforms.FreeFormJacobianTransform(
        lambda t, x: field(x, t), t0=1.0, t1=0.0, atol=1e-9, rtol=1e-9, exact=True
    )
    x = torch.randn(4, 3)
    z, logdet = flow.forward(x)
    with torch.no_grad():
        z_theirs, logdet_theirs = theirs.call_and_ladj(x)
    assert close(z.detach(), z_theirs, 1e-6)
    assert close(logdet.detach(), logdet_theirs, 1e-6)


def test_the_divergence_is_the_trace_of_the_jacobian() -> None:
    field = network()
    x, t = torch.randn(4, 3), torch.tensor(0.3)
    slope, trace = exact_divergence(field, x, t)
    assert close(slope, field(x, t), 0.0)
    expected = torch.stack([jacobian(lambda one: field(one[None], t)[0], one).trace() for one in x])
    assert close(trace, expected, 1e-12)
    with torch.no_grad():
        assert close(exact_divergence(field, x, t)[1], expected, 1e-12)


def gradients(solution: Tensor, weights: Tensor, wanted: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad((solution * weights).sum(), wanted))


def test_the_adjoint_gives_the_gradients_of_backpropagation_through_the_solver() -> None:
    """Both err by the solver's O(h⁴): 1e-5 at 20 steps is generous; a frozen adjoint is off by tenths."""
    field, weights = network(), torch.randn(5, 3)
    x = torch.randn(5, 3, requires_grad=True)
    wanted = [x, *field.parameters()]
    t = times(20)
    adjoint = gradients(odeint_adjoint(field, x, t), weights, wanted)
    through = gradients(odeint(field, x, t)[-1], weights, wanted)
    for one, other in zip(adjoint, through, strict=True):
        assert close(one, other, 1e-5)
    assert max(float(g.abs().max()) for g in through) > 0.1


def test_the_two_gradients_meet_as_the_steps_shrink() -> None:
    field, weights = network(), torch.randn(5, 3)
    x = torch.randn(5, 3, requires_grad=True)
    errors = []
    for steps in (4, 8):
        t = times(steps)
        (adjoint,) = gradients(odeint_adjoint(field, x, t), weights, [x])
        (through,) = gradients(odeint(field, x, t)[-1], weights, [x])
        errors.append(float((adjoint - through).abs().max()))
    assert errors[1] < errors[0] / 8


def test_torchdiffeq_s_adjoint_agrees() -> None:
    field, weights = network(), torch.randn(4, 3)

    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.field = field

        def forward(self, t: Tensor, x: Tensor) -> Tensor:
            return self.field(x, t)

    x = torch.randn(4, 3, requires_grad=True)
    wanted = [x, *field.parameters()]
    ends = torch.tensor([0.0, 1.0])
    theirs = torchdiffeq.odeint_adjoint(TimeFirst(), x, ends, rtol=1e-9, atol=1e-9)[-1]
    ours = odeint_adjoint(field, x, times(30))
    assert close(ours, theirs, 1e-6)
    for one, other in zip(gradients(ours, weights, wanted), gradients(theirs, weights, wanted), strict=True):
        assert close(one, other, 1e-5)


def test_the_adjoint_of_the_adaptive_solver_agrees_with_many_small_steps() -> None:
    field, weights = network(), torch.randn(4, 3)
    x = torch.randn(4, 3, requires_grad=True)
    wanted = [x, *field.parameters()]
    ours = odeint_adjoint(field, x, torch.tensor([0.0, 1.0]), "dopri5", tolerance=1e-9)
    fine = odeint(field, x, times(60))[-1]
    assert close(ours, fine.detach(), 1e-7)
    for one, other in zip(gradients(ours, weights, wanted), gradients(fine, weights, wanted), strict=True):
        assert close(one, other, 1e-5)


def test_any_callable_is_solved_with_the_parameters_it_is_said_to_have() -> None:
    """dx/dt = sin(w) x: x(1) = e^{sin w} x, whose slope in w is cos(w) e^{sin w} x; without parameters w has none."""
    w, unused = torch.tensor(0.4, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    x = torch.tensor([0.5, -2.0])

    def field(x: Tensor, t: Tensor) -> Tensor:
        return torch.sin(w) * x

    end = odeint_adjoint(field, x, times(40), parameters=[w, unused])
    by_w, by_unused = torch.autograd.grad(end.sum(), [w, unused])
    assert close(end, torch.exp(torch.sin(w.detach())) * x, 1e-7)
    assert close(by_w, torch.cos(w.detach()) * (torch.exp(torch.sin(w.detach())) * x).sum(), 1e-6)
    assert float(by_unused) == 0.0
    assert not odeint_adjoint(field, x, times(4), parameters=()).requires_grad
    with pytest.raises(ValueError, match=r"parameters must be given where f is no module, .* got function"):
        odeint_adjoint(field, x, times(4))
    module = network()
    chosen = [next(module.parameters())]
    end = odeint_adjoint(module, torch.randn(2, 3), times(4), parameters=chosen)
    assert torch.autograd.grad(end.sum(), list(module.parameters())[1], allow_unused=True) == (None,)


def test_a_field_that_nothing_moves_has_gradients_too() -> None:
    """f = 1 whatever x: x(1) = x + 1, derivative 1."""

    class Constant(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return torch.ones_like(x)

    x = torch.randn(3, requires_grad=True)
    end = odeint_adjoint(Constant(), x, times(4))
    assert close(end, (x + 1).detach(), 1e-12)
    assert close(torch.autograd.grad(end.sum(), x)[0], torch.ones(3), 1e-12)


def test_the_ends_of_time_receive_their_gradients() -> None:
    """By finite differences of a solve on a moved grid; the field depends on time."""
    field, weights = network(2), torch.randn(3, 2)
    x = torch.randn(3, 2)

    def loss(start: float, end: float) -> Tensor:
        return (odeint(field, x, times(40, start, end))[-1] * weights).sum().detach()

    t = times(40, 0.2, 0.9).requires_grad_()
    (gradient,) = torch.autograd.grad((odeint_adjoint(field, x, t) * weights).sum(), t)
    h = 1e-5
    assert abs(float(gradient[0] - (loss(0.2 + h, 0.9) - loss(0.2 - h, 0.9)) / (2 * h))) < 1e-6
    assert abs(float(gradient[-1] - (loss(0.2, 0.9 + h) - loss(0.2, 0.9 - h)) / (2 * h))) < 1e-6
    assert close(gradient[1:-1], torch.zeros(39), 0.0)


def test_the_adjoint_s_graph_does_not_grow_with_the_steps() -> None:
    """Tensors saved for the backward pass: as many for 4 steps as for 40."""
    field, x = network(), torch.randn(2, 3, requires_grad=True)

    def saved(steps: int, solve: object) -> int:
        count = []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: count.append(1) or tensor, lambda tensor: tensor):
            solve(field, x, times(steps))  # type: ignore[operator]
        return len(count)

    assert saved(40, odeint_adjoint) == saved(4, odeint_adjoint)
    assert saved(40, odeint) > saved(4, odeint)


def test_the_likelihood_s_gradients_are_those_of_backpropagation() -> None:
    field = network(2)
    x = torch.randn(4, 2)
    by_adjoint = CNF(field, (2,), steps=20)
    through = CNF(field, (2,), steps=20, adjoint=False)
    losses = [flow.log_prob(x).mean() for flow in (by_adjoint, through)]
    assert close(losses[0], losses[1].detach(), 1e-12)
    for one, other in zip(*(torch.autograd.grad(loss, list(field.parameters())) for loss in losses), strict=True):
        assert close(one, other, 1e-5)


def test_second_derivatives_come_from_the_solver_s_steps_and_are_refused_by_the_adjoint() -> None:
    """log N(e^{-A} x) has the Hessian -e^{-Aᵀ} e^{-A}; the adjoint's backward pass has no graph of its own."""
    field, x = Linear(2), torch.randn(2, requires_grad=True)
    inverse = torch.linalg.matrix_exp(-field.A.detach())

    def slope(adjoint: bool) -> Tensor:
        flow = CNF(field, (2,), steps=20, adjoint=adjoint)
        return torch.autograd.grad(flow.log_prob(x), x, create_graph=True)[0]

    rows = [torch.autograd.grad(part, x, retain_graph=True)[0] for part in slope(adjoint=False)]
    assert close(torch.stack(rows), -inverse.T @ inverse, 1e-5)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope(adjoint=True).sum().backward()


def test_frozen_parameters_are_left_alone_and_x_still_learns() -> None:
    field = network().requires_grad_(False)
    x = torch.randn(2, 3, requires_grad=True)
    odeint_adjoint(field, x, times(5)).sum().backward()
    assert x.grad is not None
    assert all(p.grad is None for p in field.parameters())
    linear = Linear(3).requires_grad_(False)
    y = torch.randn(2, 3, requires_grad=True)
    CNF(linear, (3,), steps=10).log_prob(y).sum().backward()
    A = numpy(linear.A)
    z = numpy(y) @ scipy.linalg.expm(-A).T
    assert np.allclose(numpy(y.grad), -z @ scipy.linalg.expm(-A), atol=1e-4)


def test_samples_are_the_solution_from_noise_to_data(generator: torch.Generator, device: torch.device) -> None:
    flow = CNF(Linear(2), (2,), steps=30)
    x = flow.sample(50, generator=generator)
    z = flow.base.sample(50, generator=torch.Generator(device).manual_seed(0))
    assert np.allclose(numpy(x), numpy(z) @ scipy.linalg.expm(numpy(flow.transform.field.A)).T, atol=1e-6)


def test_a_linear_field_makes_a_gaussian() -> None:
    """x = e^A z: log p by torch.distributions with covariance e^A e^{Aᵀ}."""
    flow = CNF(Linear(2), (2,), steps=40)
    M = torch.linalg.matrix_exp(flow.transform.field.A.detach())
    gaussian = torch.distributions.MultivariateNormal(torch.zeros(2), M @ M.T)
    x = torch.randn(5, 2)
    assert close(flow.log_prob(x).detach(), gaussian.log_prob(x), 1e-6)


@pytest.mark.parametrize("adjoint", [True, False])
def test_the_gradient_of_a_linear_field_s_likelihood_is_that_of_the_formula(adjoint: bool) -> None:
    """log p(x) = log N(e^{-A} x) - tr A, differentiated in A by autograd through the matrix exponential."""
    flow = CNF(Linear(3), (3,), steps=40, adjoint=adjoint)
    A = flow.transform.field.A
    x = torch.randn(5, 3)
    z = x @ torch.linalg.matrix_exp(-A).T
    formula = torch.distributions.Normal(torch.zeros(3), torch.ones(3)).log_prob(z).sum(-1) - A.trace()
    (ours,) = torch.autograd.grad(flow.log_prob(x).sum(), A)
    (theirs,) = torch.autograd.grad(formula.sum(), A)
    assert close(ours, theirs, 1e-5)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        CNF(Linear(2), (2,), steps=0)
    with pytest.raises(ValueError, match="t must rise or fall strictly"):
        odeint_adjoint(Linear(2), torch.randn(2), torch.tensor([0.0, 0.5, 0.5]))
    with pytest.raises(ValueError, match="method must be one of"):
        odeint_adjoint(Linear(2), torch.randn(2), times(2), method="dopri8")
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        CNF(Linear(2), (2,)).sample(0)
