"""Traces and adjoints; the oracles are known Jacobians, matrix exponentials and gradients by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autograder.checks import (
    SolverGradients,
    assert_adjoint_matches,
    assert_trace_estimator,
    jacobian_blocks,
)
from tests.autograder.vocabulary.forked import notebook
from tests.autograder.vocabulary.students import fails, generator

F64 = torch.float64
M = torch.tensor([[0.5, -2.0, 0.3], [1.0, 0.2, 0.7], [-0.4, 1.5, -1.1]], dtype=F64)


def normal(seed: int, *shape: int, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=F64).to(dtype)


def field(x: Tensor) -> Tensor:
    return (x.flatten(1) @ M.to(x).T).sin().reshape(x.shape)


def product(x: Tensor, v: Tensor) -> Tensor:
    """noiseᵀ J of each row, by autograd."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        return torch.autograd.grad(field(x), x, v)[0]


def hutchinson(x: Tensor, v: Tensor) -> Tensor:
    return (product(x, v) * v).flatten(1).sum(1)


def exact(x: Tensor) -> Tensor:
    parts = []
    for i in range(x[0].numel()):
        v = torch.zeros_like(x).flatten(1)
        v[:, i] = 1
        parts.append(product(x, v.reshape(x.shape)).flatten(1)[:, i])
    return torch.stack(parts).sum(0)


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("shape", [(1, 3), (64, 3), (5, 1, 1, 3)])
def test_exact_traces_and_estimates_with_given_noise_pass(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, noise = normal(0, *shape, dtype=dtype), normal(1, *shape, dtype=dtype)
    J = jacobian_blocks(field, x)
    assert_trace_estimator(exact, x, J)
    assert_trace_estimator(hutchinson, x, J, noise=noise)
    assert_trace_estimator(lambda x: torch.einsum("bii->b", jacobian_blocks(field, x)), x, J)


X = normal(0, 6, 3)
J = jacobian_blocks(field, X)
NOISE = normal(1, 6, 3)


@pytest.mark.parametrize(
    ("wrong", "says", "hint"),
    [
        (lambda x: product(x, torch.ones_like(x)).sum(1), "off by", "sums all entries of the Jacobian"),
        (lambda x: -exact(x), "off by", "the sign is flipped"),
        (lambda x: exact(x) / 3, "off by", "averaged over dimensions where a sum is asked for"),
        (lambda x: exact(x).sum(), "shape (6,), got ()", ""),
        (lambda x: exact(x) * torch.nan, "NaN", None),
        (lambda x: exact(x[:1]).expand(6), "off by", None),
    ],
)
def test_wrong_traces_fail(wrong: Callable[[Tensor], Tensor], says: str, hint: str | None) -> None:
    fails(lambda: assert_trace_estimator(wrong, X, J), says=says, hint=hint)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda x, v: exact(x), "this is the exact trace"),
        (lambda x, v: product(x, v).sum(1), "one side of the Jacobian only (its transpose)"),
        (lambda x, v: torch.einsum("bij,bj->b", J, v), "one side of the Jacobian only"),
        (lambda x, v: product(x, torch.ones_like(x)).sum(1), "sums all entries"),
        (lambda x, v: hutchinson(x, v) / 3, "averaged over dimensions"),
        (lambda x, v: hutchinson(x, v.flip(0)), None),
        (lambda x, v: hutchinson(x, v.sign()), None),
        (lambda x, v: hutchinson(x, torch.randn_like(v)), None),
    ],
)
def test_wrong_estimates_with_given_noise_fail(wrong: Callable[..., Tensor], hint: str | None) -> None:
    fails(lambda: assert_trace_estimator(wrong, X, J, noise=NOISE), says="off by", hint=hint)


def estimator(noise: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: hutchinson(x, noise(x))


def rademacher(x: Tensor) -> Tensor:
    return torch.randint_like(x, 0, 2) * 2 - 1


RIGHT_NOISE = [torch.randn_like, rademacher, lambda x: 3**0.5 * nn.functional.normalize(torch.randn_like(x), dim=1)]


@pytest.mark.parametrize("noise", RIGHT_NOISE)
def test_noise_of_ones_own_may_be_of_any_usual_law(noise: Callable[[Tensor], Tensor]) -> None:
    for seed in range(10):
        torch.manual_seed(seed)
        assert_trace_estimator(estimator(noise), X[:2], J[:2], draws=4000)


@pytest.mark.parametrize(
    ("noise", "says"),
    [
        (lambda x: torch.randn_like(x[:1]).expand_as(x), "each row needs noise of its own"),
        (torch.rand_like, "the mean of the trace"),
        (lambda x: 2 * torch.rand_like(x) - 1, "the mean of the trace"),
        (lambda x: torch.randn_like(x[:, :1]).expand_as(x), "the mean of the trace"),
        (lambda x: 1.3 * torch.randn_like(x), "the mean of the trace"),
        (lambda x: torch.randn_like(x) * torch.nan, "should be finite"),
    ],
)
def test_wrong_noise_fails_over_seeds(noise: Callable[[Tensor], Tensor], says: str) -> None:
    # points where the trace and the sum of all entries are not small
    for seed in range(10):
        torch.manual_seed(seed)
        fails(lambda: assert_trace_estimator(estimator(noise), X[:2], J[:2], draws=8000), says=says)


def test_a_question_without_an_answer_is_the_authors_mistake() -> None:
    diagonal = torch.diag_embed(torch.ones(6, 3, dtype=F64))
    for J_, options in (
        (J[:2], {}),
        (J, {"noise": NOISE[:2]}),
        (J, {"noise": NOISE, "draws": 9}),
        (diagonal, {"draws": 9}),
    ):
        with pytest.raises(ValueError, match="Jacobian"):
            assert_trace_estimator(exact, X, J_, **options)


# adjoints


class Field(nn.Module):
    """f(t, x) = tanh(x A) · (1 + t) + b, and a parameter that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.A, self.b = nn.Parameter(0.6 * M.clone()), nn.Parameter(torch.tensor([0.1, -0.2, 0.3], dtype=F64))
        self.unused = nn.Parameter(torch.ones(2, dtype=F64))

    def forward(self, t: float, x: Tensor) -> Tensor:
        return (x @ self.A).tanh() * (1 + t) + self.b


def rk4(f: Any, x: Any, t0: float, t1: float, n: int, add: Callable[[Any, float, Any], Any]) -> Any:
    h = (t1 - t0) / n
    for i in range(n):
        t = t0 + i * h
        k1 = f(t, x)
        k2 = f(t + h / 2, add(x, h / 2, k1))
        k3 = f(t + h / 2, add(x, h / 2, k2))
        k4 = f(t + h, add(x, h, k3))
        for k, w in ((k1, 1), (k2, 2), (k3, 2), (k4, 1)):
            x = add(x, h * w / 6, k)
    return x


def plain(x: Tensor, s: float, k: Tensor) -> Tensor:
    return x + s * k


def triple(module: nn.Module, end: Tensor, a: Tensor, t0: float, t1: float, n: int, error: str = "") -> list[Tensor]:
    """x, a and the parameters' gradients, from t1 back to t0."""
    parameters = list(module.parameters())

    def backwards(t: float, state: list[Tensor]) -> list[Tensor]:
        with torch.enable_grad():
            x = (end if error == "frozen" else state[0]).detach().requires_grad_(True)
            f = module(t, x)
            grads = torch.autograd.grad(f, [x, *parameters], state[1], allow_unused=True)
        zeros = [torch.zeros_like(p) for p in [x, *parameters]]
        sign = 1 if error == "sign" else -1
        return [f.detach(), *(sign * (z if g is None else g) for g, z in zip(grads, zeros, strict=True))]

    def add(state: list[Tensor], s: float, k: list[Tensor]) -> list[Tensor]:
        return [q + s * dq for q, dq in zip(state, k, strict=True)]

    start = [end, a, *(torch.zeros_like(p) for p in parameters)]
    return rk4(backwards, start, t1, t0, n, add)


class Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, module: nn.Module, t0: float, t1: float, n: int, error: str, *_: Tensor) -> Tensor:
        end = rk4(module, x, t0, t1, n, plain)
        ctx.save_for_backward(end)
        ctx.rest = (module, t0, t1, n, error)
        return end

    @staticmethod
    def backward(ctx: Any, a: Tensor) -> Any:
        module, t0, t1, n, error = ctx.rest
        found = triple(module, *ctx.saved_tensors, a, t0, t1, n, error)
        parameters = [None if error == "no parameters" else g for g in found[2:]]
        return found[1], None, None, None, None, None, *parameters


def solver(error: str = "") -> Callable[..., Tensor]:
    def solve(module: nn.Module, x: Tensor, t0: float, t1: float, n: int) -> Tensor:
        if error == "backprop":
            return rk4(module, x, t0, t1, n, plain)
        if error == "checkpoints":
            return rk4(
                lambda t, x: torch.utils.checkpoint.checkpoint(module, t, x, use_reentrant=False), x, t0, t1, n, plain
            )
        steps = n + 1 if error == "steps" else n
        out = Adjoint.apply(x, module, t0, t1, steps, error, *module.parameters())
        return out * torch.nan if error == "nan" else out.detach() if error == "cut" else out

    return solve


def known(
    module: nn.Module, x: Tensor, a: Tensor, t0: float, t1: float, n: int
) -> tuple[SolverGradients, SolverGradients]:
    names = [name for name, _ in module.named_parameters()]
    with torch.no_grad():
        end = rk4(module, x, t0, t1, n, plain)
    found = triple(module, end, a, t0, t1, n)
    adjoint = SolverGradients(end, found[1], dict(zip(names, found[2:], strict=True)))
    leaf = x.clone().requires_grad_(True)
    wanted = [leaf, *module.parameters()]
    grads = torch.autograd.grad(rk4(module, leaf, t0, t1, n, plain), wanted, a, allow_unused=True)
    zeroed = [torch.zeros_like(w) if g is None else g for g, w in zip(grads, wanted, strict=True)]
    return adjoint, SolverGradients(end, zeroed[0], dict(zip(names, zeroed[1:], strict=True)))


@pytest.mark.parametrize(("t0", "t1", "n"), [(0.0, 1.0, 3), (0.0, 2.0, 4), (1.0, 0.0, 3)])
@pytest.mark.parametrize("batch", [1, 64])
def test_a_right_adjoint_passes_and_each_wrong_one_fails(t0: float, t1: float, n: int, batch: int) -> None:
    module, x, a = Field(), normal(3, batch, 3), normal(4, batch, 3)
    expected, discrete = known(module, x, a, t0, t1, n)
    options: dict[str, Any] = {"of": module, "expected": expected, "discrete": discrete, "cotangent": a}
    args = (module, x, t0, t1, n)
    assert_adjoint_matches(solver(), *args, **options)
    wrong = {
        "backprop": (
            "the gradient of `odeint_adjoint` with respect to the initial value",
            "through the solver's own steps",
        ),
        "checkpoints": ("with respect to the initial value", "through the solver's own steps"),
        "frozen": ("with respect to the initial value", None),
        "sign": ("with respect to the initial value", None),
        "no parameters": ("no gradient of `odeint_adjoint` reaches `A`", None),
        "steps": ("the value of `odeint_adjoint`", None),
        "nan": ("NaN", None),
        "cut": ("no gradient of `odeint_adjoint` reaches the initial value", None),
    }
    for error, (says, hint) in wrong.items():
        fails(lambda error=error: assert_adjoint_matches(solver(error), *args, **options), says=says, hint=hint)


def test_the_worked_number_of_one_step_separates_three_gradients() -> None:
    """f = θx, θ = x = 1, one step: ∂x is 2.70833, ∂θ 2.62370 by the adjoint, 2.66667 by backpropagation, e in truth."""

    class Growth(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.theta = nn.Parameter(torch.ones((), dtype=F64))

        def forward(self, t: float, x: Tensor) -> Tensor:
            return self.theta * x

    module, x = Growth(), torch.ones(1, dtype=F64)
    expected, discrete = known(module, x, torch.ones(1, dtype=F64), 0.0, 1.0, 1)
    assert expected.argument.item() == pytest.approx(2.70833, abs=1e-5)
    assert expected.parameters["theta"].item() == pytest.approx(2.62370, abs=1e-5)
    assert discrete.parameters["theta"].item() == pytest.approx(2.66667, abs=1e-5)
    args = (module, x, 0.0, 1.0, 1)
    assert_adjoint_matches(solver(), *args, of=module, expected=expected)
    fault = fails(
        lambda: assert_adjoint_matches(solver("backprop"), *args, of=module, expected=expected, discrete=discrete)
    )
    assert "`theta`" in fault.message  # in x the two agree here, so it is not there that the error is found
    truth = SolverGradients(x.exp(), x.exp(), {"theta": x.exp().squeeze()})
    many = (module, x, 0.0, 1.0, 40)
    assert_adjoint_matches(solver(), *many, of=module, expected=truth, rtol=1e-6)
    with pytest.raises(ValueError, match="the field has parameters"):
        assert_adjoint_matches(
            solver(), *args, of=module, expected=SolverGradients(expected.value, expected.argument, {})
        )


SOURCE = """
import torch
def solve(module, x, t0, t1, n):
    h = (t1 - t0) / n
    for _ in range(n):
        x = x + h * module(x)
    return x
def trace(x, noise):
    return (noise * noise).sum(1) * 3
"""


def test_a_solver_and_an_estimator_in_a_worker_are_asked_where_their_graph_is() -> None:
    """Euler steps of x' = a x + b are exact by hand: x (1 + ha)² + hb (2 + ha), as are their derivatives."""
    x, a, b, h = normal(5, 4, 2), 0.7, 0.2, 0.5
    with notebook(SOURCE) as student:
        probe = student.probe("AffineScore", torch.tensor(a, dtype=F64), torch.tensor(b, dtype=F64))
        value = x * (1 + h * a) ** 2 + h * b * (2 + h * a)
        slope_a = (2 * h * (1 + h * a) * x + h * h * b).sum()
        parameters = {"a": slope_a, "b": torch.tensor(8 * h * (2 + h * a), dtype=F64)}
        expected = SolverGradients(value, torch.full_like(x, (1 + h * a) ** 2), parameters)
        assert_adjoint_matches(student.solve, probe, x, 0.0, 1.0, 2, of=probe, expected=expected)
        linear = torch.diag_embed(torch.full((4, 2), 3.0, dtype=F64))
        assert_trace_estimator(student.trace, x, linear, noise=normal(6, 4, 2))
