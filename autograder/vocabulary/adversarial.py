"""Critics: where a gradient penalty looks and what it is there, spectral norms, bounds on divergences.

A penalty is judged at the points it looked at itself: a recorder tells them, a critic of known slope the value there,
so nothing is left to chance but the law of the points.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from scipy import stats
from torch import Tensor, nn

from autograder.errors import Wrong
from autograder.student import call, parameter_gradients, records
from autograder.vocabulary.chance import FALSE_FAILURE
from autograder.vocabulary.known_laws.adversarial import Divergence
from autograder.vocabulary.numbers import assert_number
from autograder.vocabulary.recorded import Records, points_of
from autograder.vocabulary.tensors import as_double, assert_close, assert_real, tolerance_of


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
        raise ValueError("the ends of every segment must differ, row by row")
    calls = points_of(recorded, a.shape)
    start = as_double(b).flatten(1)
    offset = torch.stack([as_double(x).flatten(1) - start for x in calls])  # (calls, B, D)
    t = (offset * span).sum(2) / span.square().sum(1)
    away = (offset - t.unsqueeze(2) * span).norm(dim=2) / span.norm(dim=1)
    accepted = max(tolerance_of(a.dtype).rtol, 1e-6) * (1 + float(start.abs().max() / span.norm(dim=1).min()))
    between = " and ".join(f"{name} sample" for name in names)
    if not bool((away <= accepted).all()):
        raise Wrong(
            f"a point lies off the segment between {between} of its row: by {float(away.max()):.3g} of its length "
            f"(accepted {accepted:.1g}), {int((away > accepted).sum())} of {away.numel()} points do",
            hint=_own_shares(offset, span, accepted),
        )
    if not bool(((t >= -accepted) & (t <= 1 + accepted)).all()):
        raise Wrong(f"a point lies beyond the segment between {between}: its t goes from {_range(t)}")
    if len(a) > 1 and bool((t.std(1) <= accepted).any()):
        raise Wrong("all samples of a batch share one t, where each has its own" + _only_end(t, names, accepted))
    if uniform:
        _assert_uniform(t.flatten(), false_failure)
    return t


def _own_shares(offset: Tensor, span: Tensor, accepted: float) -> str | None:
    """Whether every entry lies between its own two ends, which is then no share of the sample's."""
    share = offset / span
    inside = (share >= -accepted) & (share <= 1 + accepted)
    if bool(inside.all()) and span.shape[1] > 1:
        return "every entry lies between its two ends, but the entries of a sample do not share one t"
    return None


def _only_end(t: Tensor, names: tuple[str, str], accepted: float) -> str:
    for end, name in ((1.0, names[0]), (0.0, names[1])):
        if bool(((t - end).abs() <= accepted).all()):
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
    tolerance: float | None = None,
    seed: int = 0,
    asked: str = "",
) -> None:
    """`penalty(critic, real, fake)` is the mean of (‖∇D(x̂)‖ − target)² over the samples, at the x̂ it looked at.

    The critic is asked once, about the whole batch. Where `trains`, the derivative in the critic's parameters is that
    of this mean too: a gradient that was detached, or taken without `create_graph`, is not. Where ∇D is 0 the
    derivative is only asked to be finite.

    Args:
        recorder: a `Recorder` in the sandbox around a probe.
        critic: the same probe with the same weights on the judge's side; its slope should differ from point to point,
            else it does not tell where it was taken.
        real, fake: shape (B, *).
        tolerance: accepted error of the value; that of the dtype where none is given.
        asked: the input in words, "of a critic with slope 2 everywhere".
    """
    own = copy.deepcopy(critic).double().requires_grad_()
    before = len(records(recorder))
    value = call(penalty, recorder, real, fake, seed=seed, grad=True)
    points = _one_call(records(recorder)[before:], real, fake)
    slope = _slope(own, points).detach()
    right = float((slope.flatten(1).norm(dim=1) - target).square().mean())
    accepted = tolerance if tolerance is not None else tolerance_of(real.dtype).rtol * (1 + right)
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
    by_row = slope.norm(dim=1) if slope.dim() > 2 else norms
    return {
        "this is the mean of (‖∇D‖² − 1)²: the square root is missing": float(
            (norms.square() - target).square().mean()
        ),
        f"this is the mean of ‖∇D‖²: the {target:g} is not subtracted": float(norms.square().mean()),
        "this is (mean ‖∇D‖ − 1)²: the mean is taken before the square": float((norms.mean() - target).square()),
        "this is one-sided: slopes below 1 are not penalised": float((norms - target).clamp(min=0).square().mean()),
        "the norm goes over the first dimension of a sample only": float((by_row - target).square().mean()),
        "this is the sum over the batch": float((norms - target).square().sum()),
    }


def _assert_derivative(
    found: Mapping[str, Tensor | None], critic: nn.Module, points: Tensor, target: float, asked: str
) -> None:
    norms = _slope(critic, points).flatten(1).norm(dim=1)
    named = dict(critic.named_parameters())
    right = torch.autograd.grad((norms - target).square().mean(), list(named.values()), allow_unused=True)
    for name, expected in zip(named, right, strict=True):
        got = found.get(f"inner.{name}")
        what = f"the derivative of the gradient penalty in the critic's `{name}` {asked}".strip()
        if expected is None or not bool((norms > 1e-6).all()):
            if got is not None:
                assert_real(got, what)
            continue
        if got is None and bool((expected != 0).any()):
            raise Wrong(f"{what} is none: the penalty can not train the critic")
        wide = tolerance_of(named[name].dtype if got is None else got.dtype)
        assert_close(torch.zeros_like(expected) if got is None else got, expected, what, atol=10 * wide.atol)


def assert_top_singular_value(
    value: Any, weight: Tensor, *, tolerance: float = 1e-6, asked: str = "", what: str = "the largest singular value"
) -> None:
    """A number is σ_max of a weight (out, *) flattened to (out, rest), up to a relative `tolerance`.

    Args:
        weight: what was asked about. Its second singular value is at most 0.9 of the first, else power iteration needs
            more steps than anybody takes: `weight_with_singular_values` makes one.
    """
    flat = as_double(weight).flatten(1)
    values = torch.linalg.svdvals(flat)
    right = float(values[0])
    if right == 0 or (len(values) > 1 and float(values[1]) > 0.9 * right):
        raise ValueError(f"the singular values should stand apart, they begin {values[:3].tolist()}")
    wrong = {
        "this is the Frobenius norm": float(flat.norm()),
        "this is the square of the largest singular value": right**2,
        "this is the largest entry": float(flat.abs().max()),
        "this is the smallest singular value": float(values[-1]),
    }
    if weight.dim() == 4:
        wrong["this is that of the reshape to (out · in, k · k)"] = _top(as_double(weight).flatten(0, 1).flatten(1))
        wrong["this is that of the reshape to (in, out · k · k)"] = _top(as_double(weight).transpose(0, 1).flatten(1))
    wrong = {sentence: number for sentence, number in wrong.items() if abs(number - right) > 100 * tolerance * right}
    assert_number(value, right, what, tolerance=tolerance * right, asked=asked, alternatives=wrong)


def _top(matrix: Tensor) -> float:
    return float(torch.linalg.svdvals(matrix)[0])


def assert_divergence_bound(
    bound: Callable[..., Any],
    real_counts: Sequence[int],
    fake_counts: Sequence[int],
    divergence: Divergence,
    *args: Any,
    output: int | None = None,
    sign: float = 1.0,
    generator: torch.Generator | None = None,
    what: str = "the bound",
) -> None:
    """`bound(t_real, t_fake, *args)` is E_p T − E_q f*(T): the divergence itself at the best critic, less elsewhere.

    p and q are laws over K states, given to the student as batches in which state k occurs as often as counted, so
    nothing is estimated.

    Args:
        real_counts, fake_counts: K whole numbers each, of unequal sums; those of the fakes are positive.
        args: passed on after the values of the critic, a handle of f* for example.
        output: part of a tuple that is meant.
        sign: −1 for a loss that is minimised.
    """
    p_counts, q_counts = torch.tensor(list(real_counts)), torch.tensor(list(fake_counts))
    if len(p_counts) != len(q_counts) or bool((q_counts < 1).any()) or int(p_counts.sum()) == int(q_counts.sum()):
        raise ValueError("two laws over the same states, the fakes everywhere, in batches of unequal size")
    p, q = p_counts / p_counts.sum(dtype=torch.float64), q_counts / q_counts.sum(dtype=torch.float64)
    best = divergence.slope(p / q)
    if not bool(best.isfinite().all()):
        raise ValueError("the best critic is infinite where p is 0: take a law without zeros")
    drawn = best - torch.rand(len(p), generator=generator, dtype=torch.float64)
    critics = {"of the best critic": best, "of a critic 0.1 below the best": best - 0.1, "of a drawn critic": drawn}
    for name, t in critics.items():
        right = float((p * t).sum() - (q * divergence.conjugate(t)).sum())
        got = bound(t.repeat_interleave(p_counts), t.repeat_interleave(q_counts), *args)
        if output is not None:
            if not isinstance(got, tuple | list) or len(got) <= output:
                raise Wrong(f"{what} should be part {output + 1} of a tuple")
            got = got[output]
        wrong = {"the sign is flipped": -sign * right, "f* is left out": sign * float((p * t).sum() - (q * t).sum())}
        assert_number(
            got, sign * right, what, tolerance=1e-6 * (1 + abs(right)), asked=name, alternatives=_apart(wrong)
        )


def _apart(wrong: dict[str, float]) -> dict[str, float]:
    """Only mistakes that give other values than each other."""
    return wrong if len({round(v, 6) for v in wrong.values()}) == len(wrong) else {}
