"""Schedules, noising, posteriors, scores and guidance.

Losses are judged by what they showed the network: from the recorded points and times the noise follows, and the loss
must be the formula of exactly these numbers. Samplers are judged against the exact law of their own recursion:
`gaussian_recursion` with `assert_moments` at the end and `assert_steps_follow` for every step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import torch
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.student import contents
from autograder.vocabulary.chance import FALSE_FAILURE
from autograder.vocabulary.normal import assert_standard_normal
from autograder.vocabulary.recorded import Records, points_of, told
from autograder.vocabulary.tensors import (
    Tolerance,
    agree,
    as_double,
    assert_close,
    assert_dtype,
    assert_real,
    assert_shape,
    tolerance_of,
)
from autograder.vocabulary.times import assert_known_time

Convention = Literal["conditional at 1", "conditional at 0"]


def assert_schedule(
    abar: Callable[..., Any] | Tensor,
    betas: Tensor,
    *,
    clean: int | None = None,
    dtype: torch.dtype | None = None,
    what: str = "ᾱ",
) -> None:
    """ᾱ_t = Π_{s≤t} (1 − β_s) at every index, against products in exact arithmetic.

    Args:
        abar: the table, shape (T,); or a function of t (B,) with B values in any shape (B, 1, …, 1), asked about all
            times in a drawn order, in one call.
        betas: float64, shape (T,), each in (0, 1), different from each other, else a shifted table does not show.
        clean: the index of clean data, −1 for example, where ᾱ is 1; only of a function.
        dtype: of the result; float64 where none is given.
    """
    if not bool(((betas > 0) & (betas < 1)).all()) or len(betas.unique()) != len(betas) or len(betas) < 2:
        raise AuthorError("every β lies in (0, 1) and differs from the others")
    kept = [Fraction(1)]
    for beta in betas.double().tolist():
        kept.append(kept[-1] * (1 - Fraction(beta)))
    right = torch.tensor([float(q) for q in kept[1:]], dtype=torch.float64)
    times = torch.arange(len(betas))
    if isinstance(abar, Tensor) or not callable(abar):
        found = assert_shape(abar, betas.shape, what)
    else:
        times = torch.randperm(len(betas), generator=torch.Generator().manual_seed(0))
        right = right[times]
        if clean is not None:
            times, right = torch.cat([times, torch.tensor([clean])]), torch.cat([right, torch.ones(1).double()])
        found = _one_each(abar(times), len(times), what)
    assert_dtype(found, dtype or torch.float64, what)
    if clean is not None and not abs(float(found[-1]) - 1) <= 1e-6:
        raise Wrong(f"{what} of clean data, index {clean}, is {float(found[-1]):.4g}, expected 1")
    here = times[: len(betas)]
    right, found = right[: len(betas)], found[: len(betas)]
    _assert_table(found, right, betas.double(), here, what)


def _one_each(value: Any, n: int, what: str) -> Tensor:
    tensor = assert_real(value, what)
    if tensor.dim() == 0 or len(tensor) != n or tensor.numel() != n:
        raise Wrong(f"{what} should be one number for each of {n} times, got shape {tuple(tensor.shape)}")
    return tensor.reshape(-1)


def _assert_table(found: Tensor, right: Tensor, betas: Tensor, times: Tensor, what: str) -> None:
    before = torch.cat([torch.ones(1).double(), (1 - betas).cumprod(0)])
    wrong = {
        "this is the product of the indices before: shifted by one": before[times],
        "this is 1 − β_t of the one index: the product is missing": (1 - betas)[times],
        "this is the square root of what is asked": right.sqrt(),
        "this is 1 − ᾱ": 1 - right,
        "this is the product of the β": betas.cumprod(0)[times],
    }
    assert_close(
        found,
        right,
        f"{what} at {len(right)} indices",
        rtol=1e-9 if found.dtype == torch.float64 else tolerance_of(found.dtype).rtol,
        atol=0.0,
        alternatives=wrong,
    )


@dataclass(frozen=True)
class Noising:
    """What a loss showed its network: points (N, *), times (N,), and the noise that follows from them (N, *)."""

    x: Tensor
    t: Tensor
    noise: Tensor


def assert_consistent_noising(
    recorded: Records,
    x_0: Tensor,
    signal: Callable[[Tensor], Tensor],
    noise: Callable[[Tensor], Tensor],
    *,
    steps: int | None = None,
    interval: tuple[float, float] | None = None,
    given: Tensor | None = None,
    where: int | str = 1,
    false_failure: float = FALSE_FAILURE,
) -> Noising:
    """Every recorded point is signal(t) x_0 + noise(t) ε of its own row with standard normal ε, or with the given ones.

    Row b of a call belongs to row b of the data. The noise is fresh for each entry, sample and call. Data far from 0
    that differ from row to row and from entry to entry show a wrong factor and a wrong row at once.

    Args:
        recorded: `records(recorder)` of calls about the whole batch, all of them.
        x_0: the data, shape (B, *), float64 where noise is to be recovered from small noise(t).
        signal, noise: factors by time, (B,) to (B,): √ᾱ_t and √(1 − ᾱ_t); 1 and σ; t and 1 − t.
        steps, interval: one of the two: times are indices 0 … steps − 1 of an integer dtype, or lie in an interval;
            `signal` and `noise` are asked about no other.
        given: the noise that was handed over, shape of x_0: then it is this one, to the dtype's tolerance.
        where: position or name of the time among the arguments.

    Returns:
        points, times and noise of all calls, joined, in float64.
    """
    if (steps is None) == (interval is None):
        raise AuthorError("say either `steps` or `interval`")
    points = points_of(recorded, x_0.shape)
    times = told(recorded, where, "the time")
    found = []
    for x, t in zip(points, times, strict=True):
        if t.shape != x_0.shape[:1]:
            raise Wrong(
                f"the network should be asked with one time a sample, shape ({len(x_0)},), got {tuple(t.shape)}"
            )
        assert_dtype(x, x_0.dtype, "the points that the network is asked about")
        assert_known_time(t, steps=steps, interval=interval)
        of_data, of_noise = (_wide(factor(t).double(), x) for factor in (signal, noise))
        rest = as_double(x) - of_data * as_double(x_0)
        found.append(rest / of_noise if given is None else as_double(given))
        if given is not None:
            _assert_given(rest, of_noise * as_double(given), x_0)
    if given is None:
        assert_standard_normal(
            found, false_failure=false_failure, what="the noise in the points that the network is asked about"
        )
    return Noising(torch.cat([as_double(x) for x in points]), torch.cat(times), torch.cat(found))


def _assert_given(rest: Tensor, noise: Tensor, x_0: Tensor) -> None:
    """What is left of the points without the data is the given noise, scaled."""
    error = (rest - noise).flatten(1).abs().nan_to_num(nan=torch.inf)
    wide = tolerance_of(x_0.dtype)
    accepted = wide.atol + wide.rtol * float(x_0.abs().max() + noise.abs().max())
    if not float(error.max()) <= accepted:
        rows = int((error.max(1).values > accepted).sum())
        raise Wrong(
            f"the points that the network is asked about do not hold the given noise in {rows} of {len(noise)} rows: "
            f"off by {float(error.max()):.3g} (accepted {accepted:.1g})"
        )


def assert_posterior(
    found: Any,
    x_0: Tensor,
    x_t: Tensor,
    abar_s: Tensor | float,
    abar_t: Tensor | float,
    *,
    asked: str = "",
    tolerance: float | None = None,
) -> None:
    """`found` is (mean, variance) of q(x_s | x_0, x_t) for s before t, by the product of the two Gaussians.

    Args:
        found: what student code returned: a mean of x's shape; a variance, one number a sample, (B, 1, …, 1) or
            (B,), or one number where ᾱ are numbers.
        abar_s, abar_t: numbers or one a sample, (B,), abar_t < abar_s ≤ 1. Where abar_s is 1 it is (x_0, 0).
        asked: the input in words, "for times far apart".
    """
    s, t = (torch.as_tensor(q, dtype=torch.float64) for q in (abar_s, abar_t))
    if not bool(((t < s) & (s <= 1) & (t > 0)).all()):
        raise AuthorError(f"0 < ᾱ_t < ᾱ_s ≤ 1 is needed, got {abar_t} and {abar_s}")
    name = f"of the posterior {asked}".strip()
    found = contents(found)
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise Wrong(f"the two parts {name} should come as a tuple: mean and variance")
    step = t / s  # what is kept from s to t
    share = (1 - s) * step / (1 - t)  # of the estimate x_t/√step against √ᾱ_s x_0, by their precisions
    clean, late = as_double(x_0), as_double(x_t)
    first, second = (_wide(q, clean) for q in ((1 - share) * s.sqrt(), share / step.sqrt()))
    wrong = {
        "the coefficients of x_0 and x_t are exchanged": second * clean + first * late,
        "the root of ᾱ_s in the coefficient of x_0 is missing": first * _wide(s.sqrt(), clean) * clean + second * late,
    }
    assert_close(found[0], first * clean + second * late, f"the mean {name}", rtol=tolerance, alternatives=wrong)
    got = assert_real(found[1], f"the variance {name}")
    if got.numel() not in ((len(x_0),) if step.dim() else (1, len(x_0))):
        one = "one number a sample" if step.dim() else "one number, or one a sample"
        raise Wrong(f"the variance {name} should be {one}, got shape {tuple(got.shape)}")
    right, forward = ((1 - s) * (1 - step) / (1 - t)).expand(got.numel()), (1 - step).expand(got.numel())
    wrong = {
        "this is the variance of one step forward, 1 − ᾱ_t/ᾱ_s": forward,
        "this is the standard deviation": right.sqrt(),
    }
    wrong = {sentence: value for sentence, value in wrong.items() if not torch.allclose(value, right)}
    assert_close(got.reshape(-1), right, f"the variance {name}", rtol=tolerance, alternatives=wrong)


def _wide(q: Tensor, x: Tensor) -> Tensor:
    """One number a sample, shaped to multiply x; or a number as it is."""
    return q.reshape(-1, *[1] * (x.dim() - 1)) if q.dim() else q


def assert_score_of(
    score: Callable[..., Any],
    log_prob: Callable[[Tensor], Tensor],
    x: Tensor,
    *args: Any,
    asked: str = "",
    tolerance: float = 1e-8,
    alternatives: Mapping[str, Tensor] | None = None,
) -> None:
    """`score(x, *args)` is ∇_x log p(x), of x's shape and dtype, by automatic differentiation of the judge's log p.

    Args:
        log_prob: of samples (B, *) to (B,), differentiable: a distribution's of `torch.distributions`, for example.
        x: float64, also far from the mass of p, where a quotient of densities is 0/0.
        args: passed on: a time, a condition.
        asked: the input in words, "far from all means".
    """
    with torch.enable_grad():
        leaf = x.detach().double().clone().requires_grad_()
        (right,) = torch.autograd.grad(log_prob(leaf).sum(), leaf)
    if not bool(right.isfinite().all()):
        raise AuthorError("log p has no finite gradient at these points")
    what = f"the score {asked}".strip()
    found = assert_dtype(assert_shape(score(x, *args), x.shape, what), x.dtype, what)
    size = float(right.abs().max())
    wide = Tolerance(tolerance, tolerance * (1 + size)) if x.dtype == torch.float64 else tolerance_of(x.dtype)
    assert_close(found, right, what, rtol=wide.rtol, atol=wide.atol, alternatives=alternatives)


def assert_guided(
    guided: Callable[[float], Any],
    conditional: Tensor,
    unconditional: Tensor,
    *,
    convention: Convention,
    weights: tuple[float, ...] = (0.0, 1.0, -1.0, 2.5),
    what: str = "the guided answer",
) -> None:
    """`guided(w)` is unconditional + w (conditional − unconditional), or that with 1 + w for w.

    Args:
        guided: the student's function of the weight alone.
        conditional, unconditional: the answers of the network, different in every sample.
        convention: "conditional at 1": ε_∅ + w (ε_y − ε_∅); "conditional at 0": (1 + w) ε_y − w ε_∅.
    """
    c, u = as_double(conditional), as_double(unconditional)
    if not bool(((c - u).flatten(1).abs() > 1e-3).any(1).all()):
        raise AuthorError("the two answers should differ in every sample")
    other: Convention = "conditional at 0" if convention == "conditional at 1" else "conditional at 1"
    found = {w: assert_real(assert_shape(guided(w), c.shape, what), what) for w in weights}
    wrong: dict[str, Callable[[float], Tensor]] = {
        "the two answers are exchanged": lambda w: _mixed(c, u, w, convention),
        f'this is the other convention: "{other}"': lambda w: _mixed(u, c, w, other),
    }
    wide = Tolerance(1e-4, 1e-5)
    true = [sentence for sentence, of in wrong.items() if all(agree(as_double(found[w]), of(w), wide) for w in found)]
    for w, answer in found.items():
        hints = {true[0]: wrong[true[0]](w)} if len(true) == 1 else {}
        assert_close(answer, _mixed(u, c, w, convention), f"{what} at weight {w:g}", alternatives=hints)


def _mixed(unconditional: Tensor, conditional: Tensor, w: float, convention: Convention) -> Tensor:
    weight = w if convention == "conditional at 1" else 1 + w
    return unconditional + weight * (conditional - unconditional)
