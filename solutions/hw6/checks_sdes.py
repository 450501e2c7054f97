"""Homework 6, hidden checks of tasks 2.4 to 2.6: kernels, ways back, and the probability flow."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from autograder.checks import (
    GaussianScore,
    SmallVelocity,
    Wrong,
    assert_close,
    assert_shape,
    assert_standard_normal,
    assert_steps_follow,
    assert_tuple,
    assert_unchanged_arguments,
    call,
    gaussian_recursion,
)

from ..common.draws import F64, normal, randint
from .properties import (
    SHAPES,
    asked,
    assert_asked_at,
    assert_clean_sampler,
    assert_single,
    covariance,
    euler_steps,
    normal_log_prob,
    number,
    solved_with_trace,
    vp,
)

NODES, WEIGHTS = np.polynomial.legendre.leggauss(60)


def integral(f, t):
    """∫₀ᵗ f by Gauss–Legendre quadrature."""
    return sum(float(w) * t / 2 * f(t / 2 * (float(node) + 1)) for node, w in zip(NODES, WEIGHTS, strict=True))


def schedules(rng):
    """Name, limits, and β(t) or g(t)² of both SDEs."""
    low, high = number(rng, 0.05, 1), number(rng, 5, 20)
    small, large = number(rng, 0.05, 0.3), number(rng, 3, 10)
    growth = math.log(large / small)
    return (
        ("vp", (low, high), lambda t: low + t * (high - low)),
        ("ve", (small, large), lambda t: 2 * growth * (small * math.exp(growth * t)) ** 2),
    )


@pytest.mark.graded("sde-marginals", points=0.4)
def test_coefficients_solve_the_moment_equations(student, rng):
    """Mean factor and variance by quadrature, in one tensor with 0 and 1 among the times, and for numbers."""
    for name, limits, rate in schedules(rng):
        fn, what = getattr(student, f"{name}_coefficients"), f"`{name}_coefficients`"
        times = [0.0, 1.0, *(0.01 + 0.99 * torch.rand(5, generator=rng, dtype=F64)).tolist()]
        rows = []
        for t in times:
            total = integral(rate, t)
            if name == "vp":
                rows.append((rate(t), math.exp(-total / 2), math.sqrt(-math.expm1(-total))))
            else:
                rows.append((math.sqrt(rate(t)), 1.0, math.sqrt(total)))
        right = torch.tensor(rows, dtype=F64)
        first = "beta" if name == "vp" else "g"
        for t, values in ((torch.tensor(times, dtype=F64), right), *zip(times[2:4], right[2:4], strict=True)):
            exact = isinstance(t, torch.Tensor)
            found = assert_tuple(fn(t, *limits), 3, f"the result of {what}", names=(first, "mean_factor", "std"))
            for part, value, said in zip(found, values.unbind(-1), (first, "mean_factor", "std"), strict=True):
                other = {"this is the variance": value.square()} if said == "std" else {}
                other |= {"this is g²": value.square()} if said == "g" else {}
                tolerance = {"rtol": 1e-8, "atol": 1e-8} if exact else {"rtol": 1e-5, "atol": 1e-6}
                assert_close(part, value, f"{said} of {what}", alternatives=other, **tolerance)


@pytest.mark.graded("sde-marginals", points=0.35)
def test_forward_steps_are_exact(student, rng):
    """Both steps at one time and at a time for each sample, with as many samples as columns."""
    for name, limits, rate in schedules(rng):
        fn, what = getattr(student, f"{name}_step"), f"`{name}_step`"
        for shape in ((6,), (1, 3, 6), (2, 2)):
            x, noise, dt = normal(rng, 6, *shape), normal(rng, 6, *shape), number(rng, 0.01, 0.1)
            for t in (torch.rand(6, generator=rng, dtype=F64), number(rng, 0.1, 0.9)):
                each = torch.tensor([rate(float(s)) for s in torch.as_tensor(t).expand(6)], dtype=F64)
                each = each.reshape(6, *[1] * len(shape))
                drift = -0.5 * each * x * dt if name == "vp" else 0.0
                right = x + drift + (each * dt).sqrt() * noise
                other = {"the noise is multiplied by dt, not by its root": x + drift + each.sqrt() * dt * noise}
                found = assert_unchanged_arguments(fn, x, t, dt, noise, *limits, what=what)
                assert_close(found, right, what, rtol=1e-5, atol=1e-6, alternatives=other)
                if isinstance(t, torch.Tensor):
                    assert_close(found, right, what, rtol=1e-9, atol=1e-9)
        assert_single(fn(x.float(), 0.5, 0.01, noise.float(), *limits), x.shape, what)


def flow_of(score, limits):
    """The field of the probability flow of a score of the judge's."""

    def f(t, x):
        return -0.5 * vp(float(t), *limits)[0] * (x + score(x, torch.full((len(x),), float(t), dtype=F64)))

    return f


def affine_steps(mean, variance, limits, n, lam):
    """Slopes, offsets and noises of n steps back from t = 1 with the exact score of N(mean, variance)."""
    dt, found = 1 / n, ([], [], [])
    for i in range(n):
        beta, a, v = vp(1 - i / n, *limits)
        spread = a**2 * variance + v
        push = dt * 0.5 * (1 + lam**2) * beta
        found[0].append(1 + dt * 0.5 * beta - push / spread)
        found[1].append(push * a * mean / spread)
        found[2].append(lam * math.sqrt(beta * dt))
    return found


def data_law(rng, shape):
    """Means and variances that differ from entry to entry."""
    return 1.5 + normal(rng, *shape), 0.2 + 0.4 * torch.rand(shape, generator=rng, dtype=F64)


@pytest.mark.graded("reverse-sde", points=0.2)
def test_reverse_steps_are_exact(student, rng):
    """The step at λ = 0, ½ and 1 with noise given, for the score of a full covariance."""
    what, limits = "`reverse_step`", (number(rng, 0.5, 1), number(rng, 4, 8))
    for shape in SHAPES:
        D = math.prod(shape)
        weights = normal(rng, *shape), covariance(rng, D), *limits
        net, twin = student.probe("GaussianScore", *weights), GaussianScore(*weights)
        x, noise, t, dt = normal(rng, 5, *shape), normal(rng, 5, *shape), number(rng, 0.3, 1), number(rng, 0.02, 0.2)
        beta = vp(t, *limits)[0]
        with torch.no_grad():
            s = twin(x, torch.full((5,), t, dtype=F64))
        for lam in (0.0, 0.5, 1.0):

            def after(weight, sign=1.0, lam=lam, x=x, s=s, noise=noise, beta=beta, dt=dt):
                return x + sign * dt * 0.5 * beta * (x + weight * s) + lam * math.sqrt(beta * dt) * noise

            hints = {
                "the drift has the other sign": after(1 + lam**2, -1.0),
                "λ stands where λ² belongs": after(1 + lam),
            }
            found = assert_unchanged_arguments(student.reverse_step, x, t, dt, noise, net, *limits, lam, what=what)
            said = f"{what} with λ = {lam:g}"
            assert_close(
                found, after(1 + lam**2), said, rtol=1e-9, atol=1e-9, alternatives=hints if lam == 0.5 else None
            )
    found = student.reverse_step(x.float(), t, dt, noise.float(), net, *limits)
    assert_single(found, x.shape, what)


@pytest.mark.graded("reverse-sde", points=0.35)
def test_samples_on_the_way_back(student, rng):
    """Each step has its exact law from t = 1 to dt, its noise in the last one too, and so has the result."""
    what, limits = "`reverse_sample`", (1.0, 6.0)
    for shape, n, lam in (((2,), 8, 1.0), ((1, 2, 2), 5, 0.5), ((2,), 6, 0.0)):
        mean, variance = data_law(rng, shape)
        net = student.probe("GaussianScore", mean, variance, *limits)
        recorder, x = student.probe("Recorder", net), normal(rng, 4000, *shape)
        result = student.reverse_sample(x, recorder, *limits, n, lam)
        assert_shape(result, x.shape, f"the result of {what}")
        shown = asked(recorder, what)
        assert_asked_at(shown, [1 - i / n for i in range(n)], what)
        assert_close(shown[0][0], x, f"what {what} asks first")
        assert_steps_follow(
            [*(point for point, _ in shown), result], *affine_steps(mean, variance, limits, n, lam), what=what
        )
        few = x[:4]
        assert_clean_sampler(student.reverse_sample, net, few, net, *limits, n, lam, what=what)
    seed = randint(rng, 0, 10**6)
    net, twin = student.probe("SmallVelocity", 2, 16, seed), SmallVelocity(2, 16, seed)  # a score without a formula
    with torch.no_grad():
        right = euler_steps(flow_of(twin, limits), few, 1.0, 0.0, 4)
    found = student.reverse_sample(few, net, *limits, 4, 0.0)
    assert_close(found, right, f"{what} with λ = 0 and a network for the score", rtol=1e-6, atol=1e-6)
    steps = affine_steps(1.5, 0.25, limits, 8, 1.0)
    net = student.probe("GaussianScore", 1.5, 0.25, *limits)
    result = student.reverse_sample(normal(rng, 20_000, 2), net, *limits, 8)
    law = gaussian_recursion(*steps, mean=torch.zeros(2), variance=1.0)
    rows = assert_shape(result, (20_000, 2), f"the result of {what}").double()
    assert_standard_normal((rows - law[0]) / law[1].sqrt(), what=f"the result of {what}, less its mean and scaled,")
    assert_single(student.reverse_sample(few.float(), net, *limits, 2), few.shape, what)


def flow_map(x, mean, variance, limits):
    """Where the exact probability flow of N(mean, variance) takes x at t = 1, and the derivative of that map."""
    _, a, v = vp(1.0, *limits)
    scale = ((a**2 * variance + v) / variance).sqrt()
    return a * mean + scale * (x - mean), scale


@pytest.mark.graded("probability-flow", points=0.2)
def test_field_of_the_flow(student, rng):
    """The field at one time for all, for the score of a full covariance; Euler's method along it, row by row."""
    limits, what = (number(rng, 0.1, 1), number(rng, 4, 8)), "the field of `probability_flow`"
    for shape in SHAPES:
        weights = normal(rng, *shape), covariance(rng, math.prod(shape)), *limits
        net, twin = student.probe("GaussianScore", *weights), GaussianScore(*weights)
        x, recorder = normal(rng, 5, *shape), student.probe("Recorder", net)

        def right(t, x, twin=twin, full=1.0):
            with torch.no_grad():
                s = twin(x, torch.full((len(x),), float(t), dtype=F64))
            return -0.5 * vp(float(t), *limits)[0] * (x + full * s)

        f = student.probability_flow(recorder, *limits)
        for t in (number(rng, 0.2, 0.9), torch.tensor(number(rng, 0.2, 0.9), dtype=F64)):
            hints = {
                "the score counts twice: ½ is missing": right(t, x, full=2.0),
                "this is the other direction": -right(t, x),
            }
            assert_close(call(f, t, x), right(t, x), what, rtol=1e-9, atol=1e-9, alternatives=hints)
        asked(recorder, what)
        along = euler_steps(lambda t, x, f=f: assert_shape(call(f, t, x), x.shape, what).double(), x, 1.0, 0.0, 6)
        assert_close(along, euler_steps(right, x, 1.0, 0.0, 6), f"six Euler steps along {what}", rtol=1e-8, atol=1e-8)
    assert_single(call(f, 0.5, x.float()), x.shape, what)


@pytest.mark.graded("probability-flow", points=0.35)
def test_likelihood_along_the_flow(student, rng):
    """The exact density of Gaussian data on two schedules, by its exact base; and what another base makes of it."""
    what = "`pf_log_prob`"
    for limits, n, D in (((0.1, 4.0), 60, 2), ((0.1, 20.0), 100, 1), ((0.1, 4.0), 60, 1)):
        mean, variance = normal(rng, D), 0.3 + torch.rand(D, generator=rng, dtype=F64)
        net = student.probe("GaussianScore", mean, variance, *limits)
        x = mean + variance.sqrt() * normal(rng, 5, D)
        end, scale = flow_map(x, mean, variance, limits)
        _, a, v = vp(1.0, *limits)
        precision = 1 / (a**2 * variance + v)
        centre, constant = a * mean, -0.5 * (2 * math.pi / precision).log().sum()
        base = student.probe(
            "Quadratic",
            -torch.diag(precision),
            precision * centre,
            constant - 0.5 * float((precision * centre.square()).sum()),
        )
        log_det = scale.log().sum()
        of_base = constant - 0.5 * (precision * (end - centre).square()).sum(1)
        hints = {"the divergence has the other sign": of_base - log_det, "the divergence is missing": of_base}
        own = -0.5 * (end.square() + math.log(2 * math.pi)).sum(1) + log_det
        hints["the base is N(0, I), not the one given"] = own
        found = student.pf_log_prob(net, x, *limits, n, base)
        assert_close(
            found, of_base + log_det, f"{what} with β up to {limits[1]:g}", rtol=1e-5, atol=1e-5, alternatives=hints
        )
    assert_unchanged_arguments(student.pf_log_prob, net, x, *limits, 3, base, what=what)
    seed, points = randint(rng, 0, 10**6), normal(rng, 4, 2)
    small, twin = student.probe("SmallVelocity", 2, 16, seed), SmallVelocity(2, 16, seed)  # a score without a formula
    plain = student.probe("Quadratic", -torch.eye(2, dtype=F64), 0.0, -math.log(2 * math.pi))
    found = student.pf_log_prob(small, points, *limits, 2, plain)
    z, change = solved_with_trace(flow_of(twin, limits), points, 0.0, 1.0, 2)
    right = (normal_log_prob(z) + change).detach()
    assert_close(found, right, f"{what} with a network for the score, in 2 steps", rtol=1e-6, atol=1e-6)
    weight = normal(rng, D)
    found = student.pf_log_prob(net, x, *limits, n, student.probe("Linear", weight, 0.5))
    if bool((assert_shape(found, (5,), what).double() - own).abs().max() < 1e-3):
        raise Wrong(f"{what} does not ask the base that it is given")
    assert_close(found, end @ weight + 0.5 + log_det, f"{what} with another base", rtol=1e-5, atol=1e-5)
