"""Gradient penalties: where they look, what they are there, and whether they train.

A penalty is judged at the points it looked at itself: a recorder tells them, a critic of known slope the value there,
so nothing is left to chance but the law of the points.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from scipy import stats
from torch import Tensor, nn

from autograder.errors import AuthorError, Wrong
from autograder.student import call, parameter_gradients, records, state_dict
from autograder.vocabulary.chance import FALSE_FAILURE
from autograder.vocabulary.numbers import assert_number
from autograder.vocabulary.recorded import Records, points_of
from autograder.vocabulary.tensors import as_double, assert_close, assert_real, tolerance_of

SURE = 1e-3  # a t known that well
ENOUGH = 8  # of these t do not lie within a thousandth of each other by chance: 1e-17
SOFTENED = 1e-8  # may stand inside the root of a norm, where a right answer keeps away from 0


def assert_points_between(
    recorded: Records,
    a: Tensor,
    b: Tensor,
    *,
    uniform: bool = False,
    false_failure: float = FALSE_FAILURE,
    names: tuple[str, str] = ("the real", "the fake"),
) -> Tensor:
    """Every recorded point is x = t a + (1 − t) b, row by row, with one t in [0, 1] a sample.

    Args:
        recorded: `records(recorder)`: every call about the whole batch.
        a, b: shape (B, *), different in every row, of the dtype the points should have.
        uniform: also ask that the t of all calls together are uniform on [0, 1], by the bound of Dvoretzky, Kiefer,
            Wolfowitz and Massart; a right answer fails with probability at most `false_failure`.

    Returns:
        the t of all points, shape (calls, B), float64.
    """
    span = as_double(a - b).flatten(1)
    if a.shape != b.shape or not bool((span.norm(dim=1) > 0).all()):
        raise AuthorError("the ends of every segment must differ, row by row")
    calls = points_of(recorded, a.shape)
    start = as_double(b).flatten(1)
    offset = torch.stack([as_double(x).flatten(1) - start for x in calls])  # (calls, B, D)
    t = (offset * span).sum(2) / span.square().sum(1)
    away = (offset - t.unsqueeze(2) * span).norm(dim=2) / span.norm(dim=1)
    accepted = tolerance_of(a.dtype).rtol * (1 + start.norm(dim=1) / span.norm(dim=1))  # (B,)
    between = " and ".join(f"{name} sample" for name in names)
    if not bool((away <= accepted).all()):
        raise Wrong(
            f"a point lies off the segment between {between} of its row: by {float(away.max()):.3g} of its length, "
            f"{int((away > accepted).sum())} of {away.numel()} points do",
            hint=_own_shares(offset, span, accepted.unsqueeze(1)),
        )
    if not bool(((t >= -accepted) & (t <= 1 + accepted)).all()):
        raise Wrong(f"a point lies beyond the segment between {between}: its t goes from {_range(t)}")
    sure = accepted <= SURE
    if int(sure.sum()) >= ENOUGH and bool((t[:, sure].std(1) <= accepted[sure].max()).any()):
        raise Wrong("all samples of a batch share one t, where each has its own" + _only_end(t, names))
    if uniform:
        _assert_uniform(t.flatten().clamp(0, 1), false_failure)
    return t


def _own_shares(offset: Tensor, span: Tensor, accepted: Tensor) -> str | None:
    """Whether every entry lies between its own two ends, which is then no share of the sample's."""
    share = offset / span
    inside = (share >= -accepted) & (share <= 1 + accepted)
    if bool(inside.all()) and span.shape[1] > 1:
        return "every entry lies between its two ends, but the entries of a sample do not share one t"
    return None


def _only_end(t: Tensor, names: tuple[str, str]) -> str:
    for end, name in ((1.0, names[0]), (0.0, names[1])):
        if bool(((t - end).abs() <= SURE).all()):
            return f": the points are {name} samples themselves"
    return ""


def _range(t: Tensor) -> str:
    return f"{float(t.min()):.3g} to {float(t.max()):.3g}"


def _assert_uniform(t: Tensor, false_failure: float) -> None:
    distance = float(stats.kstest(t.numpy(), "uniform").statistic)
    bound = math.sqrt(math.log(2 / false_failure) / (2 * len(t)))
    if not distance <= bound:
        raise Wrong(
            f"the t of the points are not uniform on [0, 1]: largest distance between distribution functions "
            f"{distance:.3f}, at most {bound:.3f} is accepted for {len(t)} points"
        )


def assert_gradient_penalty(
    penalty: Callable[..., Any],
    recorder: Any,
    critic: nn.Module,
    real: Tensor,
    fake: Tensor,
    *,
    target: float = 1.0,
    trains: bool = True,
    seed: int = 0,
    asked: str = "",
) -> None:
    """`penalty(critic, real, fake)` is the mean of (‖∇D(x̂)‖ − target)² over the samples, at the x̂ it looked at.

    The critic is asked once, about the whole batch. Where `trains`, the derivative in the critic's parameters is that
    of this mean too: a gradient that was detached, or taken without `create_graph`, is not. Where ∇D is 0 the
    derivative is only asked to be finite. Up to 1e-8 may stand inside the root of the norm.

    Args:
        recorder: a `Recorder` in the sandbox around a probe.
        critic: the same probe with the same weights on the judge's side; its slope should differ from point to point,
            else it does not tell where it was taken.
        real, fake: shape (B, *).
        asked: the input in words, "of a critic with slope 2 everywhere".
    """
    own = copy.deepcopy(critic).double().requires_grad_()
    if not {f"inner.{name}" for name, _ in own.named_parameters()} <= state_dict(recorder).keys():
        raise AuthorError("the recorder's inner network is not the critic on the judge's side")
    before = len(records(recorder))
    value = call(penalty, recorder, real, fake, seed=seed, grad=True)
    points = _one_call(records(recorder)[before:], real, fake)
    slope = _slope(own, points).detach()
    right = float(_penalty(slope, target))
    accepted = tolerance_of(real.dtype).rtol * (1 + right) + 2 * abs(float(_penalty(slope, target, SOFTENED)) - right)
    wrong = _penalty_mistakes(slope, target)
    assert_number(value, right, "the gradient penalty", tolerance=accepted, asked=asked, alternatives=wrong)
    if not trains:
        return
    before = len(records(recorder))
    found = parameter_gradients(penalty, recorder, real, fake, of=recorder, seed=seed)
    points = _one_call(records(recorder)[before:], real, fake)
    _assert_derivative(found, own, points, target, asked)


def _one_call(recorded: Records, real: Tensor, fake: Tensor) -> Tensor:
    """The points of one call. Raises Wrong where there were several, or where they do not lie between the samples."""
    points = points_of(recorded, real.shape)
    if len(points) != 1:
        raise Wrong(f"the penalty asks the critic {len(points)} times, expected once, about the whole batch")
    differ = (real != fake).flatten(1).any(1)
    if bool(differ.all()):
        assert_points_between(recorded, real, fake)
    return as_double(points[0])


def _slope(critic: nn.Module, points: Tensor) -> Tensor:
    """∇D at each point, with its graph; both in float64."""
    x = points.clone().requires_grad_()
    (found,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return found


def _penalty_mistakes(slope: Tensor, target: float) -> dict[str, float]:
    """Values of common mistakes, by what they are."""
    norms = slope.flatten(1).norm(dim=1)
    away, rows = norms - target, slope.norm(dim=1) if slope.dim() > 2 else norms
    found = {
        f"this is the mean of (‖∇D‖² − {target:g})²: the square root is missing": (norms.square() - target).square(),
        f"this is the mean of ‖∇D‖²: the {target:g} is not subtracted": norms.square(),
        f"this is (mean ‖∇D‖ − {target:g})²: the mean is taken before the square": away.mean().square(),
        f"this is one-sided: slopes below {target:g} are not penalised": away.clamp(min=0).square(),
        "the norm goes over the first dimension of a sample only": (rows - target).square(),
        "this is the sum over the batch": len(away) * away.square(),
    }
    return {sentence: float(values.mean()) for sentence, values in found.items()}


def _penalty(slope: Tensor, target: float, inside: float = 0.0) -> Tensor:
    """The mean of (‖slope‖ − target)², with a number added inside the root."""
    flat = slope.flatten(1)
    norms: Tensor = (flat.square().sum(1) + inside).sqrt() if inside else flat.norm(dim=1)
    return (norms - target).square().mean()


def _assert_derivative(
    found: Mapping[str, Tensor | None], critic: nn.Module, points: Tensor, target: float, asked: str
) -> None:
    slope, named = _slope(critic, points), dict(critic.named_parameters())
    if not {f"inner.{name}" for name in named} <= found.keys():
        raise Wrong("the penalty replaces the critic's parameters")
    right, softened = (
        torch.autograd.grad(_penalty(slope, target, inside), list(named.values()), retain_graph=True, allow_unused=True)
        for inside in (0.0, SOFTENED)
    )
    known = bool((slope.detach().flatten(1).norm(dim=1) > 1e-6).all())
    for name, expected, other in zip(named, right, softened, strict=True):
        got = found[f"inner.{name}"]
        what = f"the derivative of the gradient penalty in the critic's `{name}` {asked}".strip()
        if expected is None or other is None or not known:
            if got is not None:
                assert_real(got, what)
            continue
        if got is None and bool((expected != 0).any()):
            raise Wrong(f"{what} is none: the penalty can not train the critic")
        given = torch.zeros_like(expected) if got is None else got
        accepted = 10 * tolerance_of(given.dtype).atol + 2 * float((other - expected).abs().max())
        assert_close(given, expected, what, atol=accepted)
