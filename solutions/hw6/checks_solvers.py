"""Homework 6, hidden checks of tasks 2.1 to 2.3: solvers, adjoint gradients, traces and likelihoods.

Times of steps are eighths, halves of them included: a number that a field is given as float32 is the same then.
"""

from __future__ import annotations

import math

import pytest
import torch

from autograder.checks import (
    SmallField,
    SolverGradients,
    SwirlField,
    Wrong,
    assert_adjoint_matches,
    assert_close,
    assert_integrates_to_one,
    assert_trace_estimator,
    assert_tuple,
    assert_unchanged_arguments,
    call,
    gradient,
    keep,
    optimiser,
    parameter_gradients,
    parameters,
    records,
)

from ..common.draws import F64, normal, randint
from .properties import SHAPES, assert_single, euler_steps, normal_log_prob, number, solved_with_trace, stages

LN_2PI = math.log(2 * math.pi)


def swirl(student, rng, D):
    """A nonlinear field that depends on time, in the sandbox and here."""
    weights = 0.8 * normal(rng, D, D) / math.sqrt(D) + 0.5 * torch.eye(D, dtype=F64), normal(rng, D)
    return student.probe("SwirlField", *weights), SwirlField(*weights)


def small_field(student, rng, D):
    """A field that is a network, in the sandbox and here: it has no formula to look up."""
    seed = randint(rng, 0, 10**6)
    return student.probe("SmallField", D, 16, seed), SmallField(D, 16, seed)


def judged(name, f, x, t0, t1, n):
    with torch.no_grad():
        if name == "euler":
            return euler_steps(f, x, t0, t1, n)
        return stages(lambda t, s: (f(t, s[0]),), (x,), t0, t1, n)[0]


@pytest.mark.graded("ode", points=0.3)
def test_steps_in_time_and_space(student, rng):
    """The exact result of few steps along a nonlinear field of time and space, both ways in time."""
    for shape in SHAPES:
        f, twin = swirl(student, rng, math.prod(shape))
        x = normal(rng, 4, *shape)
        for t0, t1, n in ((0.0, 1.0, 1), (0.0, 1.5, 3), (0.75, -0.25, 2), (0.25, 2.0, 7)):
            for name in ("euler", "rk4"):
                right = judged(name, twin, x, t0, t1, n)
                what = f"`{name}` with {n} step{'s' * (n > 1)} from {t0:.2f} to {t1:.2f}"
                assert_close(getattr(student, name)(f, x, t0, t1, n), right, what, rtol=1e-9, atol=1e-10)


@pytest.mark.graded("ode", points=0.25)
def test_linear_steps(student, rng):
    """A linear field multiplies by a known matrix in a step, which is also the gradient; calls; dtype."""
    A, h = normal(rng, 3, 3), number(rng, 0.3, 1)
    f, x = student.probe("LinearField", A), normal(rng, 5, 3)
    powers = [torch.linalg.matrix_power(h * A, k) / math.factorial(k) for k in range(5)]
    for name, terms, calls in (("euler", 2, 1), ("rk4", 5, 4)):
        solver, step = getattr(student, name), sum(powers[:terms])
        args = (f, x, 0.0, h, 1)
        result = assert_unchanged_arguments(solver, *args, what=f"`{name}`")
        assert_close(result, x @ step.T, f"`{name}` in one step of a linear field", rtol=1e-11, atol=1e-11)
        found, right = gradient(solver, *args, wrt=1), step.sum(0).expand(5, 3)
        if found is None:
            raise Wrong(f"no gradient passes through `{name}`")
        assert_close(found, right, f"the gradient through `{name}`", rtol=1e-9, atol=1e-9)
        recorder = student.probe("Recorder", f)
        solver(recorder, x, 0.0, 1.0, 3)
        if len(records(recorder)) != 3 * calls:
            raise Wrong(f"`{name}` with 3 steps calls its field {len(records(recorder))} times, not {3 * calls}")
        assert_single(solver(student.probe("LinearField", A.float()), x.float(), 0.0, 1.0, 2), (5, 3), f"`{name}`")


def slopes(module, point, t, adjoint):
    """The field, and the products of the adjoint with its derivatives by the point and each parameter."""
    with torch.enable_grad():
        point = point.detach().requires_grad_()
        value = module(t, point)
        wanted = [point, *module.parameters()]
        products = torch.autograd.grad(value, wanted, adjoint, allow_unused=True, materialize_grads=True)
    return value.detach(), products


def adjoint_solution(module, end, cotangent, t0, t1, n):
    """Gradients by x and by each parameter: n steps of the triple back from t1."""

    def triple(t, state):
        value, products = slopes(module, state[0], t, state[1])
        return (value, *(-product for product in products))

    state = (end, cotangent, *(torch.zeros_like(p) for p in module.parameters()))
    _, by_x, *by_parameter = stages(triple, state, t1, t0, n)
    return by_x, dict(zip(dict(module.named_parameters()), by_parameter, strict=True))


def through_the_steps(module, x, cotangent, t0, t1, n):
    """The gradients of backpropagation, for the message."""
    x = x.clone().requires_grad_()
    end = stages(lambda t, s: (module(t, s[0]),), (x,), t0, t1, n)[0]
    names, wanted = zip(*module.named_parameters(), strict=True)
    by_x, *rest = torch.autograd.grad(end, [x, *wanted], cotangent, allow_unused=True, materialize_grads=True)
    return SolverGradients(end.detach(), by_x, dict(zip(names, rest, strict=True)))


@pytest.mark.graded("adjoint", points=0.6)
def test_gradients_of_the_equation(student, rng):
    """Value and gradients of one to four steps, both ways in time, for a drawn cotangent."""
    solve = student.odeint_adjoint
    for shape, (t0, t1, n) in zip(
        (*SHAPES, (2,), (2,)), ((0.0, 1.5, 3), (0.0, 1.0, 4), (0.75, -0.25, 2), (0.5, 1.0, 1)), strict=True
    ):
        module, twin = swirl(student, rng, math.prod(shape))
        x, cotangent = normal(rng, 4, *shape), normal(rng, 4, *shape)
        discrete = through_the_steps(twin, x, cotangent, t0, t1, n)
        by_x, by_parameter = adjoint_solution(twin, discrete.value, cotangent, t0, t1, n)
        expected = SolverGradients(discrete.value, by_x, by_parameter)
        args = (module, x, t0, t1, n)
        assert_adjoint_matches(solve, *args, of=module, expected=expected, cotangent=cotangent, discrete=discrete)
    assert_unchanged_arguments(solve, *args, what="`odeint_adjoint`")


@pytest.mark.graded("adjoint", points=0.35)
def test_two_solves_add_up(student, rng):
    """One solve after another through one module: gradients add up, and nothing is left in the parameters."""
    solve = student.odeint_adjoint
    module, twin = swirl(student, rng, 3)
    x, n, what = normal(rng, 4, 3), 2, "`odeint_adjoint`"
    middle = judged("rk4", twin, x, 0.0, 0.5, n)
    end = judged("rk4", twin, middle, 0.5, 1.0, n)
    back, late = adjoint_solution(twin, end, torch.ones_like(x), 0.5, 1.0, n)
    _, early = adjoint_solution(twin, middle, back, 0.0, 0.5, n)
    step, before = optimiser(module, lr=1.0), parameters(module)
    first = keep(solve, module, x, 0.0, 0.5, n, grad=True)
    found = parameter_gradients(solve, module, first, 0.5, 1.0, n, of=module)
    for name, right in late.items():
        total = right + early[name]
        if found[name] is None and bool(total.any()):
            raise Wrong(f"no gradient of two solves reaches `{name}`")
        value = torch.zeros_like(total) if found[name] is None else found[name]
        only = {"this is the gradient of the second solve alone": right} if bool(right.any()) else None
        said = f"the gradient of two solves by {what} with respect to `{name}`"
        assert_close(value, total, said, rtol=1e-9, atol=1e-9, alternatives=only)
    call(step.step)
    if any(not torch.equal(value, before[name]) for name, value in parameters(module).items()):
        raise Wrong(f"`backward` of {what} leaves gradients in the module's parameters besides those that it returns")


def jacobians(twin, t, x):
    flat = x.flatten(1)
    with torch.enable_grad():
        rows = [
            torch.autograd.functional.jacobian(lambda q: twin(t, q[None]).flatten(), q.reshape(x.shape[1:]))
            for q in flat
        ]
    return torch.stack(rows).reshape(len(x), flat.shape[1], flat.shape[1])


@pytest.mark.graded("cnf", points=0.25)
def test_traces(student, rng):
    """Exact traces and estimates with given noise, for Jacobians that differ from sample to sample."""
    for D, drawn in ((1, swirl), (2, small_field), (3, swirl), (3, small_field)):
        f, twin = drawn(student, rng, D)
        x, t = normal(rng, 5, D), randint(rng, 0, 8) / 8
        value, _ = assert_tuple(student.exact_trace(f, t, x), 2, "`exact_trace`", names=("f(t, x)", "trace"))
        with torch.no_grad():
            assert_close(value, twin(t, x), "the field that `exact_trace` returns")
        assert_trace_estimator(
            lambda x, f=f, t=t: student.exact_trace(f, t, x)[1], x, jacobians(twin, t, x), what="the exact trace"
        )
    for shape, drawn in ((SHAPES[0], swirl), (SHAPES[1], swirl), (SHAPES[0], small_field), (SHAPES[1], small_field)):
        f, twin = drawn(student, rng, math.prod(shape))
        x, noise, t = normal(rng, 4, *shape), normal(rng, 4, *shape), randint(rng, 0, 8) / 8
        value, _ = assert_tuple(student.hutchinson(f, t, x, noise), 2, "`hutchinson`", names=("f(t, x)", "estimate"))
        with torch.no_grad():
            assert_close(value, twin(t, x), "the field that `hutchinson` returns")
        assert_trace_estimator(
            lambda x, z, f=f, t=t: student.hutchinson(f, t, x, z)[1], x, jacobians(twin, t, x), noise=noise
        )


def linear_log_prob(A, b, x, trace, n):
    """ln p by n RK4 steps of a linear field, with its graph."""
    z = stages(lambda t, s: (s[0] @ A.T + b,), (x,), 1.0, 0.0, n)[0]
    return -0.5 * (z.square() + LN_2PI).sum(1) - trace


def assert_likelihood_of_a_network(student, rng, shape, n, noise):
    """The exact result of few steps along a network, and all of its gradients."""
    log_prob, x = student.cnf_log_prob, normal(rng, 4, *shape)
    f, twin = small_field(student, rng, math.prod(shape))
    noise = normal(rng, 4, *shape) if noise else None
    what = f"`cnf_log_prob` of a network, {'with noise' if noise is not None else 'without noise'},"
    with torch.enable_grad():
        point = x.clone().requires_grad_()
        z, change = solved_with_trace(twin, point, 1.0, 0.0, n, noise)
        right = normal_log_prob(z) + change
        by_x, *by_parameter = torch.autograd.grad(right.sum(), [point, *twin.parameters()])
    args = (f, x, n) if noise is None else (f, x, n, noise)
    assert_close(log_prob(*args), right.detach(), f"{what} in {n} steps", rtol=1e-6, atol=1e-6)
    found = parameter_gradients(log_prob, *args, of=f)
    pairs = [("x", gradient(log_prob, *args, wrt=1), by_x)]
    pairs += [(f"`{k}`", found[k], by) for (k, _), by in zip(twin.named_parameters(), by_parameter, strict=True)]
    for name, got, by in pairs:
        if got is None:
            raise Wrong(f"no gradient of {what} reaches {name}")
        assert_close(got, by, f"the gradient of {what} with respect to {name}", rtol=1e-4, atol=1e-4)


@pytest.mark.graded("cnf", points=0.3)
def test_likelihood_of_flows(student, rng):
    """Linear fields exactly, with and without noise, with their gradients; a nonlinear one has integral 1."""
    log_prob, what, n = student.cnf_log_prob, "`cnf_log_prob`", 20
    for D in (1, 3):
        A, b, x = 0.7 * normal(rng, D, D), normal(rng, D), normal(rng, 5, D)
        f = student.probe("LinearField", A, b)
        moved = torch.linalg.matrix_exp(-torch.cat([torch.cat([A, b[:, None]], 1), torch.zeros(1, D + 1, dtype=F64)]))
        z = x @ moved[:D, :D].T + moved[:D, D]
        base, trace, noise = -0.5 * (z.square() + LN_2PI).sum(1), A.trace(), normal(rng, 5, D)
        hints = {"the sign of the trace is turned": base + trace, "the trace is missing": base}
        found = log_prob(f, x, n)
        assert_close(found, base - trace, f"{what} of a linear field", rtol=1e-5, atol=1e-5, alternatives=hints)
        estimate = torch.einsum("bi,ij,bj->b", noise, A, noise)
        found = log_prob(f, x, n, noise)
        assert_close(found, base - estimate, f"{what} of a linear field with noise", rtol=1e-5, atol=1e-5)
        with torch.enable_grad():
            matrix, point = A.clone().requires_grad_(), x.clone().requires_grad_()
            right = torch.autograd.grad(linear_log_prob(matrix, b, point, matrix.trace(), n).sum(), [point, matrix])
        by_x = gradient(log_prob, f, x, n, wrt=1)
        by_A = parameter_gradients(log_prob, f, x, n, of=f)["A"]
        for got, value, name in ((by_x, right[0], "x"), (by_A, right[1], "a parameter")):
            if got is None:
                raise Wrong(f"no gradient of {what} reaches {name}")
            assert_close(got, value, f"the gradient of {what} with respect to {name}", rtol=1e-5, atol=1e-5)
        single = student.probe("LinearField", A.float(), b.float())
        assert_single(log_prob(single, x.float(), 3), (5,), what)
    for shape, noise in (((2,), False), ((2,), True), ((1, 2, 2), True)):
        assert_likelihood_of_a_network(student, rng, shape, 2, noise)
    f, _ = swirl(student, rng, 2)
    assert_close(
        call(log_prob, f, x[:, :2], 5, grad=True),
        log_prob(f, x[:, :2], 5),
        f"{what} with gradients on",
    )
    A = torch.tensor([[0.6, -0.8], [0.7, 0.3]], dtype=F64) + 0.1 * normal(rng, 2, 2)
    f = student.probe("SwirlField", A, normal(rng, 2))
    assert_integrates_to_one(lambda x: log_prob(f, x, 12), [(-8.0, 8.0)] * 2, points=80, what=what)
    assert_unchanged_arguments(log_prob, f, x[:, :2].contiguous(), 3, what=what)
    images = normal(rng, 3, 1, 2, 2)
    A = 0.5 * normal(rng, 4, 4)
    found = log_prob(student.probe("LinearField", A), images, n, torch.ones_like(images))
    z = images.flatten(1) @ torch.linalg.matrix_exp(-A).T
    right = -0.5 * (z.square() + LN_2PI).sum(1) - A.sum()
    assert_close(found, right, f"{what} of images with noise", rtol=1e-5, atol=1e-5)
