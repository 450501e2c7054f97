"""Means of draws of any law, without a normal approximation, and checks that may be tried again.

Two exact bounds, for right draws that are independent with mean m:

- A standard deviation of at most σ is known. Catoni's ψ(y) = sign(y) ln(1 + |y| + y²/2) has E exp ψ(λ(x − m)) ≤
  1 + λ²σ²/2, so Σ ψ(λ(x_i − m)) exceeds nλ²σ²/2 + ln(1/δ) with probability at most δ, however heavy the tails are. With
  λ = √(2 ln(1/δ) / n) / σ a mean that is off by σ √(2 ln(1/δ) / n) fails: 5.4 standard errors at 10⁻⁶ where the normal
  law has 4.9. Challenging the Empirical Mean and Empirical Variance (Catoni, 2012), proposition 2.1,
  https://arxiv.org/abs/1009.2048
- A range [low, high] is known. Π (1 + λ(x_i − m)) is the capital of a gambler in a fair game for each λ that keeps it
  positive; it exceeds 1/δ with probability at most δ (Markov), and some λ of a grid is near the best one, so the bound
  adapts to a variance nobody knows. What it can not see is a mean off by less than about 20 (high − low) / N.
  Estimating Means of Bounded Random Variables by Betting (Waudby-Smith, Ramdas, 2024), section 4,
  https://arxiv.org/abs/2010.09686
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.vocabulary.chance import FALSE_FAILURE
from autograder.vocabulary.tensors import argmax_index, assert_rows

T = TypeVar("T")
BETS = 24  # sizes of bets tried on each side; each gets its share of the false failures
SLACK = 1e-6  # of the range, by which rounding may carry a value outside


def assert_mean(
    values: Tensor,
    expected: Tensor | float,
    *,
    bound: float | Tensor | tuple[float, float],
    sides: str = "both",
    false_failure: float = FALSE_FAILURE,
    what: str = "the values",
) -> None:
    """Independent draws of any law have this mean, in every coordinate; exact at any number of draws.

    Args:
        values: (N, *shape), N ≥ 2.
        expected: of shape `shape`, or one number.
        bound: the largest standard deviation that right draws may have, one number or of shape `shape`; or the pair
            (low, high) between which every right draw lies.
        sides: "both"; "above" fails only a mean that is too large, "below" only one that is too small.
        false_failure: largest probability of failing right draws.
    """
    if sides not in ("both", "above", "below"):
        raise AuthorError(f"sides is 'both', 'above' or 'below', got {sides!r}")
    shapes = {torch.as_tensor(q).shape for q in (expected, *(() if isinstance(bound, tuple) else (bound,)))}
    sizes = shapes - {torch.Size(())}
    if len(sizes) > 1:
        raise AuthorError(f"expected mean and bound have different shapes: {sorted(map(tuple, sizes))}")
    x = assert_rows(values, next(iter(sizes), None), what)
    n, shape = len(x), x.shape[1:]
    x = x.reshape(n, -1)
    m = torch.as_tensor(expected, dtype=torch.float64).expand(shape).reshape(-1)
    tested = {"both": (1.0, -1.0), "above": (1.0,), "below": (-1.0,)}[sides]
    log_term = math.log(len(tested) * max(x.shape[1], 1) / false_failure)
    if isinstance(bound, tuple):
        x = _within(x, m, bound, what)
        score = torch.stack([_capital(side * (x - m), _room(m, bound, side)) for side in tested])
        score = score - math.log(BETS)
        chance = f"is less likely than {false_failure:.0e}"
    else:
        deviation = _deviation(bound, shape)
        score = torch.stack([_catoni(side * (x - m), deviation, log_term) for side in tested])
        chance = f"is more than the {math.sqrt(2 * log_term):.1f} that chance explains"
    if bool((score <= log_term).all()):
        return
    worst = argmax_index(score.nan_to_num(nan=math.inf).reshape(len(tested), *shape))
    large, index = tested[worst[0]] > 0, worst[1:]
    error = (x.mean(0) - m).reshape(shape)[index]
    spread = deviation.reshape(shape)[index] if not isinstance(bound, tuple) else x.std(0).reshape(shape)[index]
    off = float(error.abs() * math.sqrt(n) / spread.clamp_min(1e-300))
    where = f" at index {index}" if index else ""
    raise Wrong(
        f"the mean of {what} is too {'large' if large else 'small'} by {abs(float(error)):.3g}{where}: "
        f"{off:.3g} standard errors over {n} draws, which {chance}",
        detail=f"mean {float(x.mean(0).reshape(shape)[index])}, expected {float(m.reshape(shape)[index])}",
    )


def _deviation(bound: float | Tensor, shape: torch.Size) -> Tensor:
    deviation = torch.as_tensor(bound, dtype=torch.float64).expand(shape).reshape(-1)
    if not bool(((deviation > 0) & torch.isfinite(deviation)).all()):
        raise AuthorError("a bound on the standard deviation is positive and finite")
    return deviation


def _catoni(y: Tensor, deviation: Tensor, log_term: float) -> Tensor:
    """ln of the evidence that the mean of y (N, d) lies above 0; at most `log_term` but for its probability."""
    size = math.sqrt(2 * log_term / len(y)) / deviation
    scaled = size * y
    psi = torch.sign(scaled) * torch.log1p(scaled.abs() + scaled.square() / 2)
    return psi.sum(0) - log_term  # nλ²σ²/2 is `log_term`


def _within(x: Tensor, m: Tensor, bound: tuple[float, float], what: str) -> Tensor:
    low, high = (float(end) for end in bound)
    if not low < high or not bool(((m >= low) & (m <= high)).all()):
        raise AuthorError(f"the expected mean must lie in the range {bound}")
    slack = SLACK * (high - low)
    outside = (x < low - slack) | (x > high + slack)
    if outside.any():
        raise Wrong(
            f"{what} should lie between {low:.6g} and {high:.6g}, but {int(outside.sum())} of {x.numel()} do not: "
            f"they reach from {float(x.min()):.6g} to {float(x.max()):.6g}"
        )
    return x.clamp(low, high)


def _room(m: Tensor, bound: tuple[float, float], side: float) -> Tensor:
    """How far a right draw may lie on the losing side of the mean, (d,); bets stay below its inverse."""
    low, high = (float(end) for end in bound)
    return (m - low if side > 0 else high - m).clamp_min(SLACK * (high - low))


def _capital(y: Tensor, room: Tensor) -> Tensor:
    """ln of the largest capital, over the bets of a grid, in a game that is fair if the mean of y (N, d) is 0."""
    smallest = 1 / math.sqrt(len(y))  # of what may be bet at most; a smaller bet wins nothing before N draws
    shares = smallest ** torch.linspace(0, 1, BETS, dtype=torch.float64) * 0.999
    return torch.stack([torch.log1p(share / room * y).sum(0) for share in shares]).amax(0)


def retried(check: Callable[[int, float], T], *, times: int = 2, false_failure: float = FALSE_FAILURE) -> T:
    """A stochastic check fails an answer only if it fails on `times` fresh draws in a row.

    Each try may then fail a right answer with probability false_failure^(1/times), so it is much sharper at the same
    number of draws: a thousandth in place of a millionth for two. A wrong answer that one try lets pass with
    probability π passes with 1 − (1 − π)^times, so use it where π is small.

    Args:
        check: called with the number of the try, from 0, to be used in seeds so that draws are fresh, and with the
            false failure that this try may have. It raises `Wrong` or returns. Any other fault ends it at once.

    Returns:
        what the first check that passed returned.
    """
    if times < 1 or not 0 < false_failure < 1:
        raise AuthorError(f"a check is tried at least once, at a rate between 0 and 1, got {times}, {false_failure}")
    for attempt in range(times - 1):
        try:
            return check(attempt, false_failure ** (1 / times))
        except Wrong:
            continue
    return check(times - 1, false_failure ** (1 / times))
