"""Straight paths, velocities, couplings and how straight a flow is. Time 0 is noise, time 1 is data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.vocabulary.known_laws.flow_matching import euler_path
from autograder.vocabulary.numbers import assert_number
from autograder.vocabulary.tensors import as_double, assert_close, assert_dtype, assert_real, assert_shape, tolerance_of


def assert_straight_paths(path: Callable[..., Any], x_0: Tensor, x_1: Tensor, times: Tensor) -> None:
    """`path(x_0, x_1, t)` is (x_t, target): x_t = (1 − t) x_0 + t x_1 row by row, and the target x_1 − x_0.

    Args:
        x_0, x_1: shape (B, *); a batch as large as the last dimension makes a time along the wrong axis run silently.
        times: shape (B,), with both ends among them.
    """
    if times.shape != x_0.shape[:1] or not {0.0, 1.0} <= set(times.tolist()):
        raise AuthorError("one time a sample is needed, 0 and 1 among them")
    found = path(x_0, x_1, times)
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise Wrong("a path should come as a tuple of two: the point and the target")
    t = times.double().reshape(-1, *[1] * (x_0.dim() - 1))
    a, b = as_double(x_0), as_double(x_1)
    point, target = (1 - t) * a + t * b, b - a
    variance_preserving = (1 - t.square()).sqrt() * a + t * b
    _compare(
        found[0], point, x_0.dtype, "the point on the path",
        {
            "the path runs backwards: at time 0 it should be at the noise": (1 - t) * b + t * a,
            "this is √(1 − t²) x_0 + t x_1": variance_preserving,
        },
    )  # fmt: skip
    _compare(
        found[1], target, x_0.dtype, "the target velocity",
        {
            "the target is x_0 − x_1: it points from the data to the noise": -target,
            "the target is x_0": a,
            "the target is x_1": b,
            "the target is x_1 − x_t": b - point,
        },
    )  # fmt: skip


def _compare(found: Any, right: Tensor, dtype: torch.dtype, what: str, wrong: Mapping[str, Tensor]) -> None:
    tensor = assert_dtype(assert_shape(found, right.shape, what), dtype, what)
    clear = {sentence: value for sentence, value in wrong.items() if not torch.allclose(value, right)}
    assert_close(tensor, right, what, rtol=1e-9 if dtype == torch.float64 else None, alternatives=clear)


def assert_velocity(
    velocity: Callable[..., Any],
    exact: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    times: Sequence[float] = (0.0, 0.3, 0.7, 1.0),
    *args: Any,
    number_too: bool = True,
    tolerance: float | None = None,
    asked: str = "",
) -> None:
    """`velocity(x, t, *args)` is the exact one at each time, given as a number and as one a sample, (B,).

    Args:
        exact: of x (B, *) and t (B,), on the judge's side: a `GaussianVelocity`, for example.
        x: several samples; as many as the last dimension make a time along the wrong axis run silently.
        times: asked one by one as numbers, then all in one batch, in turns over the samples.
        args: passed on: a mean and a deviation, a condition.
        number_too: also ask with t as a plain number.
        asked: the input in words.
    """
    mixed = torch.tensor([times[i % len(times)] for i in range(len(x))], dtype=x.dtype)
    questions: list[tuple[Any, Tensor, str]] = [(mixed, mixed, "with a time for each sample")]
    if number_too:
        questions += [(t, torch.full((len(x),), t, dtype=x.dtype), f"at time {t:g}") for t in times]
    for given, t, words in questions:
        right = exact(x, t).detach()
        what = " ".join(f"the velocity {asked} {words}".split())
        found = assert_dtype(assert_shape(velocity(x, given, *args), x.shape, what), x.dtype, what)
        wrong = {
            "it points the other way: from the data to the noise": -right,
            "this is the velocity at time 1 − t, times −1: time runs backwards": -exact(x, 1 - t).detach(),
            "this is the velocity at time 1 − t": exact(x, 1 - t).detach(),
        }
        clear = {s: v for s, v in wrong.items() if v.isfinite().all() and not torch.allclose(v, right, atol=1e-5)}
        assert_close(found, right, what, rtol=tolerance, atol=tolerance, alternatives=clear)


def assert_coupling_optimal(
    permutation: Any, x_0: Tensor, x_1: Tensor, *, tolerance: float = 1e-9, what: str = "the pairing"
) -> None:
    """A permutation π of the rows minimises Σ_i ‖x_0[i] − x_1[π_i]‖²; any of several best ones will do.

    Args:
        permutation: integers, shape (B,).
        x_0, x_1: shape (B, *), float64. Dozens of points in two dimensions or more show a distance that is not squared,
            and an inverse permutation; on a line, or with two points, neither shows.
        tolerance: of the cost, relative to the best.
    """
    n = len(x_0)
    found = assert_shape(permutation, (n,), what)
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise Wrong(f"{what} should hold row numbers, an integer dtype, got {str(found.dtype).removeprefix('torch.')}")
    order = found.long()
    if not torch.equal(order.sort().values, torch.arange(n)):
        outside = int(((order < 0) | (order >= n)).sum())
        repeated = n - len(order.unique())
        raise Wrong(f"{what} is no permutation of 0 … {n - 1}: {outside} entries lie outside, {repeated} are repeated")
    squared = (as_double(x_0).flatten(1).unsqueeze(1) - as_double(x_1).flatten(1)).square().sum(2)  # (B, B)
    best = _cost(squared, _assigned(squared))
    cost = _cost(squared, order)
    wrong = {
        "the inverse of this permutation is optimal": _cost(squared, order.argsort()) <= best * (1 + tolerance),
        "these pairs cost the most, not the least": cost >= _cost(squared, _assigned(-squared)) * (1 - tolerance),
        "these pairs minimise the sum of distances, not of squared ones": torch.equal(order, _assigned(squared.sqrt())),
        "the rows are left in their order": torch.equal(order, torch.arange(n)),
    }
    if not cost <= best * (1 + tolerance) + 1e-12:
        true = [sentence for sentence, holds in wrong.items() if holds]
        raise Wrong(
            f"{what} of {n} points costs {cost / best if best else torch.inf:.4g} times as much as the best",
            hint=true[0] if len(true) == 1 else None,
        )


def _assigned(cost: Tensor) -> Tensor:
    return torch.as_tensor(linear_sum_assignment(cost.numpy())[1])


def _cost(squared: Tensor, order: Tensor) -> float:
    return float(squared[torch.arange(len(order)), order].sum())


def assert_straightness(
    straightness: Callable[..., Any],
    network: Any,
    velocity: Callable[[Tensor, Tensor], Tensor],
    x_0: Tensor,
    n_steps: int,
    *,
    asked: str = "",
    tolerance: float | None = None,
) -> None:
    """`straightness(network, x_0, n)` is the mean over samples and steps of ‖(x_1 − x_0) − v(x_{t_i}, t_i)‖².

    Along the Euler path of n steps from x_0, the squares summed over the entries of a sample. With one step it is 0.

    Args:
        network: a handle, as `model(x, t)`; velocity: the same on the judge's side.
        x_0: shape (B, *).
        asked: the input in words.
    """
    points, velocities = euler_path(velocity, as_double(x_0), n_steps)
    way = points[-1] - points[0]
    off = (way - velocities).flatten(2)  # (n, B, D)
    right = float(off.square().sum(2).mean())
    wrong = {
        "this is the mean over the entries of a sample, not the sum": float(off.square().mean()),
        "this is the mean distance, not its square": float(off.norm(dim=2).mean()),
        "this is the square of the mean, not the mean of the squares": float(off.mean(0).square().sum(1).mean()),
        "this is summed over the steps": right * n_steps,
    }
    accepted = tolerance if tolerance is not None else tolerance_of(x_0.dtype).rtol * (1 + right)
    wrong = {sentence: value for sentence, value in wrong.items() if abs(value - right) > 100 * accepted}
    value = assert_real(straightness(network, x_0, n_steps), "the straightness")
    words = f"with {n_steps} step{'s' * (n_steps > 1)} {asked}".strip()
    assert_number(value, right, "the straightness", tolerance=accepted, asked=words, alternatives=wrong)
