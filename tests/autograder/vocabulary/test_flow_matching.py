"""Words for flow matching: right answers in several styles pass, each planted mistake fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from autograder.checks import (
    Constant,
    GaussianVelocity,
    LinearInTime,
    Recorder,
    assert_close,
    assert_consistent_noising,
    assert_coupling_optimal,
    assert_covers_times,
    assert_moments,
    assert_straight_paths,
    assert_straightness,
    assert_velocity,
    euler_law,
    euler_path,
    records,
)
from autograder.errors import StudentFault
from tests.autograder.vocabulary.students import fails, generator

F64 = torch.float64


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=generator(seed))


def along(t: Any, x: Tensor) -> Any:
    return t.reshape(-1, *[1] * (x.dim() - 1)) if isinstance(t, Tensor) and t.dim() else t


# paths


def path(x_0: Tensor, x_1: Tensor, t: Tensor, style: str = "") -> Any:
    s = t if style == "wrong axis" else along(t, x_0)
    point = x_0 + s * (x_1 - x_0) if style == "by difference" else (1 - s) * x_0 + s * x_1
    return {
        "backwards": (s * x_0 + (1 - s) * x_1, x_1 - x_0),
        "variance preserving": ((1 - s**2).sqrt() * x_0 + s * x_1, x_1 - x_0),
        "target backwards": (point, x_0 - x_1),
        "target is data": (point, x_1),
        "target is noise": (point, x_0),
        "target from here": (point, x_1 - point),
        "NaN": (point * torch.nan, x_1 - x_0),
        "float32": (point.float(), (x_1 - x_0).float()),
        "one": point,
    }.get(style, (point, x_1 - x_0))


TIMES = torch.tensor([0.0, 1.0, 0.3, 0.9, 0.5, 0.1, 0.7, 0.2], dtype=F64)


@pytest.mark.parametrize("style", ["", "by difference"])
@pytest.mark.parametrize("shape", [(8,), (1, 8, 8)])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_right_paths_pass(style: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x_0, x_1 = drawn(8, *shape).to(dtype), drawn(8, *shape, seed=1).to(dtype)
    assert_straight_paths(lambda *a: path(*a, style), x_0, x_1, TIMES.to(dtype))


@pytest.mark.parametrize(
    ("style", "says", "hint"),
    [
        ("backwards", "the point on the path", "runs backwards"),
        ("variance preserving", "the point on the path", "√(1 − t²)"),
        ("wrong axis", "the point on the path", None),
        ("target backwards", "the target velocity", "sign is flipped"),
        ("target is data", "the target velocity", "the target is x_1"),
        ("target is noise", "the target velocity", "the target is x_0"),
        ("target from here", "the target velocity", "x_1 − x_t"),
        ("NaN", "NaN", None),
        ("float32", "dtype float64", None),
        ("one", "a tuple of two", None),
    ],
)
def test_wrong_paths_fail(style: str, says: str, hint: str | None) -> None:
    for shape in ((8,), (1, 8, 8)):
        x_0, x_1 = drawn(8, *shape), drawn(8, *shape, seed=1)
        fails(lambda a=x_0, b=x_1: assert_straight_paths(lambda *q: path(*q, style), a, b, TIMES), says=says, hint=hint)
    with pytest.raises(ValueError, match="0 and 1 among them"):
        assert_straight_paths(path, x_0, x_1, TIMES.clamp(min=0.1))


# the loss of a trial homework, judged by what it showed the network


def fm_loss(model: Callable[..., Tensor], x_1: Tensor, x_0: Tensor | None = None, style: str = "") -> Tensor:
    x_0 = torch.randn_like(x_1) if x_0 is None or style == "redrawn" else x_0
    t = torch.rand(len(x_1), dtype=x_1.dtype)
    if style == "antithetic":
        t = torch.cat([t[: len(t) // 2], 1 - t[: len(t) // 2]])
    if style == "a batch":
        t = t[:1].expand(len(x_1))
    if style == "root":
        t = t.sqrt()
    if style == "scaled":
        return (model(*(q for q in (path(x_0, x_1, t)[0], 1000 * t))) - (x_1 - x_0)).square().mean()
    point, target = path(x_0, x_1, t, style)
    told = {"always 0": 0 * t, "1 − t": 1 - t}.get(style, t)
    return (model(point, told) - target).square().mean()


def judge_loss(train: Callable[..., Any], shape: tuple[int, ...] = (2,), given: bool = False) -> None:
    x_1, x_0 = 3 + drawn(1000, *shape), drawn(1000, *shape, seed=1)
    inner = LinearInTime(3.0, 2.0, 0.5)
    recorder = Recorder(inner)
    values = [train(recorder, x_1, *([x_0] if given else [])) for _ in range(4)]
    seen = assert_consistent_noising(
        records(recorder), x_1, lambda t: t, lambda t: 1 - t, interval=(0, 1), given=x_0 if given else None
    )
    assert_covers_times(records(recorder), interval=(0.0, 1.0))
    target = x_1.repeat(4, *[1] * len(shape)) - seen.noise
    right = (inner(seen.x, seen.t) - target).square().flatten(1).mean(1).reshape(4, -1).mean(1).detach()
    for value, expected in zip(values, right, strict=True):
        assert_close(value, expected, "the loss", rtol=1e-7)


@pytest.mark.parametrize("style", ["", "by difference", "antithetic"])
@pytest.mark.parametrize("shape", [(2,), (1, 2, 2)])
def test_right_losses_pass(style: str, shape: tuple[int, ...]) -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        judge_loss(lambda *a: fm_loss(*a, style=style), shape)
        judge_loss(lambda *a: fm_loss(*a, style=style), shape, given=True)


@pytest.mark.parametrize(
    "mistake",
    [
        *("a batch", "root", "scaled", "always 0", "1 − t", "backwards", "variance preserving"),
        *("target backwards", "target is data", "target is noise", "target from here"),
    ],
)
@pytest.mark.parametrize("shape", [(2,), (1, 2, 2)])
def test_wrong_losses_fail(mistake: str, shape: tuple[int, ...]) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        with pytest.raises(StudentFault):
            judge_loss(lambda *a: fm_loss(*a, style=mistake), shape)


def test_noise_that_was_given_and_is_drawn_anew_is_seen() -> None:
    torch.manual_seed(0)
    judge_loss(lambda *a: fm_loss(*a, style="redrawn"))
    fails(lambda: judge_loss(lambda *a: fm_loss(*a, style="redrawn"), given=True), says="do not hold the given noise")
    x_0, x_1, t = drawn(8, 2), drawn(8, 2, seed=1), TIMES
    recorded = [{"args": [path(x_0, x_1, t)[0], t], "kwargs": {}}]  # both ends are among the times
    seen = assert_consistent_noising(recorded, x_1, lambda t: t, lambda t: 1 - t, interval=(0, 1), given=x_0)
    torch.testing.assert_close(seen.noise, x_0)


# velocities


def covariance(n: int) -> Tensor:
    root = drawn(n, n, seed=3)
    return root @ root.T / n + 0.3 * torch.eye(n, dtype=F64)


def velocity(x: Tensor, t: Any, mean: Tensor, C: Tensor) -> Tensor:
    """By the dense joint law of (x_1 − x_0, x_t), one sample at a time."""
    times = torch.as_tensor(t, dtype=x.dtype).expand(len(x))
    eye = torch.eye(len(C), dtype=x.dtype)
    rows = []
    for row, s in zip(x, times, strict=True):
        total = s**2 * C.to(x) + (1 - s) ** 2 * eye
        rows.append(mean.to(x) + (s * C.to(x) - (1 - s) * eye) @ torch.linalg.solve(total, row - s * mean.to(x)))
    return torch.stack(rows)


@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_right_velocities_pass_and_wrong_ones_fail(dtype: torch.dtype) -> None:
    mean, C, x = drawn(4, seed=5), covariance(4), drawn(4, 4).to(dtype)
    exact = GaussianVelocity(mean, C)
    assert_velocity(velocity, exact, x, (0.0, 0.3, 0.7, 1.0), mean, C)
    assert_velocity(exact, exact, x, number_too=False)

    def wrong(f: Callable[..., Tensor], **kwargs: Any) -> None:
        assert_velocity(f, exact, x, (0.0, 0.3, 0.7, 1.0), mean, C, asked="of a Gaussian", **kwargs)

    fails(lambda: wrong(lambda x, t, m, C: -velocity(x, t, m, C)), says="the velocity of a Gaussian with a time for")
    fails(lambda: wrong(lambda x, t, m, C: velocity(x, 1 - t, m, C)), hint="at time 1 − t")
    fails(lambda: wrong(lambda x, t, m, C: velocity(x, t, m, torch.diag(C.diagonal()))))
    fails(lambda: wrong(lambda x, t, m, C: velocity(x, 0.0, m, C)), hint=None)
    fails(lambda: wrong(lambda x, t, m, C: velocity(x, t, m, C) * torch.nan), says="NaN")
    fails(lambda: wrong(lambda x, t, m, C: velocity(x, t, m, C)[0]), says="should have shape (4, 4)")
    late = lambda x, t, m, C: velocity(x, t, m, C) if isinstance(t, Tensor) else velocity(x, t + 0.1, m, C)  # noqa: E731
    fails(lambda: wrong(late), says="at time 0 is off")

    def crossed(x: Tensor, t: Any, mean: Tensor, C: Tensor) -> Tensor:
        """The time runs along the entries: silent where the batch is as large as a sample."""
        s = torch.as_tensor(t, dtype=x.dtype)
        v = C.to(x).diagonal()
        return mean.to(x) + (s * v - (1 - s)) / (s**2 * v + (1 - s) ** 2) * (x - s * mean.to(x))

    entries = GaussianVelocity(mean, C.diagonal())
    fails(lambda: assert_velocity(crossed, entries, x, (0.0, 0.5), mean, C), says="with a time for each sample")


# laws of Euler's method


def test_the_law_of_euler_is_that_of_the_plan_and_of_simulated_paths() -> None:
    stds = [float(euler_law(0.0, 0.25, n)[1]) ** 0.5 for n in (1, 2, 4, 10, 100)]
    assert stds == pytest.approx([0, 0.2, 0.3405, 0.4308, 0.4926], abs=5e-5)
    assert float(euler_law(1.5, 0.25, 3)[0]) == 1.5
    mean, C = drawn(3, seed=1), covariance(3)
    m, v = euler_law(mean, C, 4)
    points, velocities = euler_path(GaussianVelocity(mean, C), drawn(100_000, 3, seed=2), 4)
    assert points.shape == (5, 100_000, 3)
    assert velocities.shape == (4, 100_000, 3)
    torch.testing.assert_close(points[-1].mean(0), m, atol=0.02, rtol=0)
    torch.testing.assert_close(points[-1].T.cov(), v, atol=0.03, rtol=0)
    end = euler_path(GaussianVelocity(mean, C), drawn(20_000, 3, seed=3), 4)[0][-1]
    assert_moments(end, m, v.diagonal())
    with pytest.raises(ValueError, match="at least one step"):
        euler_law(0.0, 1.0, 0)


@pytest.mark.parametrize(
    ("mistake", "times"),
    [
        ("a step late", [0.25, 0.5, 0.75, 1.0]),
        ("grid points as times", [0, 1 / 3, 2 / 3, 1.0]),
        ("always 0", [0.0] * 4),
        ("a step too few", [0, 1 / 3, 2 / 3]),
    ],
)
def test_samplers_that_ask_at_wrong_times_have_another_law(mistake: str, times: list[float]) -> None:
    model = GaussianVelocity(torch.tensor([1.0, 2.0], dtype=F64), torch.tensor([0.25, 0.5], dtype=F64))
    x = drawn(4000, 2)
    law = euler_law(torch.tensor([1.0, 2.0]), torch.tensor([0.25, 0.5]), 4)
    assert_moments(euler_path(model, x, 4)[0][-1], *law)
    for t in times:
        x = x + model(x, t).detach() / len(times)
    fails(lambda: assert_moments(x, *law), says="the samples have")


# couplings


@pytest.mark.parametrize("shape", [(1,), (2,), (1, 2, 2)])
@pytest.mark.parametrize("n", [1, 2, 7, 64])
def test_optimal_couplings_pass_by_scipy_pot_and_sorting(shape: tuple[int, ...], n: int) -> None:
    for seed in range(3):
        a, b = drawn(n, *shape, seed=seed), drawn(n, *shape, seed=seed + 10)
        cost = torch.cdist(a.flatten(1), b.flatten(1)).square()
        assert_coupling_optimal(torch.as_tensor(linear_sum_assignment(cost.numpy())[1]), a, b)
        plan = ot.emd(np.full(n, 1 / n), np.full(n, 1 / n), cost.numpy())
        assert_coupling_optimal(torch.as_tensor(plan.argmax(1)), a, b)
        if shape == (1,):
            order = torch.empty(n, dtype=torch.int32)
            order[a[:, 0].argsort()] = b[:, 0].argsort().int()
            assert_coupling_optimal(order, a, b)
    assert_coupling_optimal(torch.tensor([1, 0]), torch.ones(2, 1).double(), torch.ones(2, 1).double())


def assigned(cost: Tensor) -> Tensor:
    return torch.as_tensor(linear_sum_assignment(cost.numpy())[1])


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda c: assigned(c).argsort(), "the inverse of this permutation"),
        (lambda c: assigned(-c), "cost the most"),
        (lambda c: assigned(c.sqrt()), "sum of distances"),
        (lambda c: torch.arange(len(c)), "left in their order"),
        (lambda c: assigned(c).roll(1), None),
        (lambda c: c.argmin(1), None),
        (lambda c: assigned(c).double(), None),
        (lambda c: assigned(c)[:-1], None),
        (lambda c: assigned(c) + 1, None),
        (lambda c: torch.full((len(c),), torch.nan), None),
    ],
)
def test_wrong_couplings_fail(wrong: Callable[[Tensor], Tensor], hint: str | None) -> None:
    for seed in range(20):
        a, b = drawn(64, 2, seed=seed), drawn(64, 2, seed=seed + 100)
        found = wrong(torch.cdist(a, b).square())
        fails(lambda a=a, b=b, found=found: assert_coupling_optimal(found, a, b), hint=hint)
    bad = torch.tensor([0, 0, 3])
    says = "no permutation of 0 … 2: 1 entries lie outside, 1 are repeated"
    fails(lambda: assert_coupling_optimal(bad, a[:3], b[:3]), says=says)


# straightness


def straightness(model: Callable[..., Tensor], x_0: Tensor, n_steps: int, style: str = "") -> Tensor | float:
    points, velocities = [x_0], []
    for k in range(n_steps):
        t = torch.full((len(x_0),), k / n_steps, dtype=x_0.dtype)
        velocities.append(model(points[-1], t))
        points.append(points[-1] + velocities[-1] / n_steps)
    end = points[-1].roll(1, 0) if style == "other rows" else points[-1]
    off = ((end - x_0) - torch.stack(velocities)).flatten(2)
    if style == "a loop":
        return float(np.mean([float(o.detach().square().sum()) / len(x_0) for o in off]))
    return {
        "mean over entries": off.square().mean(),
        "no square": off.norm(dim=2).mean(),
        "square of the mean": off.mean(0).square().sum(1).mean(),
        "sum over steps": off.square().sum(2).mean(1).sum(),
        "zero": 0 * off.mean(),
        "NaN": off.mean() * torch.nan,
        "a row each": off.square().sum(2).mean(0),
    }.get(style, off.square().sum(2).mean())


@pytest.mark.parametrize("shape", [(3,), (1, 2, 2)])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("style", ["", "a loop"])
def test_right_straightness_passes(shape: tuple[int, ...], dtype: torch.dtype, style: str) -> None:
    exact = GaussianVelocity(drawn(*shape, seed=1), drawn(*shape, seed=2).exp())
    for n in (1, 2, 10):
        x_0 = drawn(64, *shape).to(dtype)
        assert_straightness(lambda *a: straightness(*a, style), exact, exact, x_0, n)
        assert_straightness(
            lambda *a: straightness(*a, style), Constant(2.0), Constant(torch.tensor(2.0).double()), x_0, n
        )


def test_the_straightness_of_a_gaussian_is_that_of_the_plan() -> None:
    for n, known in ((2, 0.0400), (4, 0.1172), (10, 0.1698), (100, 0.2096)):
        x_0 = drawn(200_000, 1)
        model = GaussianVelocity(torch.tensor(0.0).double(), torch.tensor(0.25).double())
        points, velocities = euler_path(model, x_0, n)
        value = (points[-1] - points[0] - velocities).square().mean()
        assert float(value) == pytest.approx(known, rel=0.02)


@pytest.mark.parametrize(
    ("style", "hint"),
    [
        ("mean over entries", "over the entries"),
        ("no square", "mean distance"),
        ("square of the mean", "square of the mean"),
        ("sum over steps", "summed over the steps"),
        ("zero", ""),
        ("other rows", None),
        ("NaN", None),
        ("a row each", ""),
    ],
)
def test_wrong_straightness_fails(style: str, hint: str | None) -> None:
    exact = GaussianVelocity(drawn(3, seed=1), drawn(3, seed=2).exp())
    fault = fails(
        lambda: assert_straightness(
            lambda *a: straightness(*a, style), exact, exact, drawn(64, 3), 4, asked="of a Gaussian flow"
        ),
        says="the straightness",
        hint=hint,
    )
    if style == "other rows":
        assert "the straightness with 4 steps of a Gaussian flow is off by" in fault.message
