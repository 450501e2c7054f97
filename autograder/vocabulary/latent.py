"""Latent-variable models: densities, divergences and bounds, and sequences that climb.

Known laws of the probes (`GaussianDecoder` and its encoders) give exact evidences and bounds: compare what a student
estimates with these, never with what the student says. Use deviations of both signs of their logarithm, batches and
latent sizes that differ, means away from zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from autograder.errors import AuthorError, Wrong
from autograder.student import contents
from autograder.vocabulary.chance import FALSE_FAILURE
from autograder.vocabulary.draws import assert_mean
from autograder.vocabulary.pathwise import STD, Scale
from autograder.vocabulary.tensors import as_double, assert_close, assert_real, assert_shape
from autograder.vocabulary.words import in_words

LOG_2PI = math.log(2 * math.pi)


def assert_gaussian_kl(
    kl: Callable[..., Any],
    mean_1: Tensor,
    scale_1: Tensor,
    mean_2: Tensor | None = None,
    scale_2: Tensor | None = None,
    *,
    scale: Scale = "log_std",
    summed: bool = False,
    atol: float | None = None,
    rtol: float | None = None,
    what: str = "the KL divergence",
) -> None:
    """KL(N₁ ‖ N₂) of normal laws in nats, entry by entry, or summed over all dimensions but the first.

    Args:
        kl: called with the means and scales given here, in this order; with the first two only, against N(0, 1).
        mean_1, scale_1, mean_2, scale_2: of shapes that broadcast, with scales on both sides of 1.
        scale: what a scale is: "log_std", "log_var" or "std".
        summed: the answer is one number a sample.
    """
    if (mean_2 is None) != (scale_2 is None):
        raise AuthorError("give mean and scale of the second law, or neither")
    given = [mean_1, scale_1] if mean_2 is None or scale_2 is None else [mean_1, scale_1, mean_2, scale_2]
    wide = torch.broadcast_tensors(*(as_double(q) for q in given))
    m1, s1 = wide[:2]
    m2, s2 = wide[2:] if len(wide) > 2 else (torch.zeros_like(m1), torch.ones_like(s1) if scale == "std" else 0 * s1)

    def divergence(order: int, read: Scale = scale) -> Tensor:
        laws = (Normal(m1, STD[read](s1)), Normal(m2, STD[read](s2)))
        value = kl_divergence(*laws[::order])
        return value.flatten(1).sum(1) if summed else value

    others: dict[str, Tensor | float] = {"the two laws are exchanged: this is KL(N₂ ‖ N₁)": divergence(-1)}
    swapped: dict[Scale, tuple[Scale, str]] = {
        "log_std": ("log_var", "the logarithm of the standard deviation is read as that of the variance"),
        "log_var": ("log_std", "the logarithm of the variance is read as that of the standard deviation"),
    }
    if scale in swapped:
        others[swapped[scale][1]] = divergence(1, swapped[scale][0])
    assert_close(
        kl(*given),
        divergence(1),
        f"{what} of {in_words(*given)}",
        atol=atol,
        rtol=rtol,
        alternatives=others,
        sizes={"dimensions": m1[0].numel()} if summed and m1.dim() and m1[0].numel() > 1 else None,
    )


def assert_density(
    log_density: Callable[..., Any],
    *args: Tensor,
    expected: Tensor,
    dimensions: int = 1,
    negative: bool = False,
    atol: float | None = None,
    rtol: float | None = None,
    what: str = "the log-density",
) -> None:
    """A log-density in nats has known values. Whether a density is one at all is `assert_integrates_to_one`.

    Args:
        log_density: called with `args`; one number a sample, or an entry.
        expected: ln p, of the shape the answer should have; more than two different values.
        dimensions: of a sample, over which ln p is summed; 1 where the answer is entry by entry.
        negative: the answer is to be −ln p, a loss.
    """
    right = -as_double(expected) if negative else as_double(expected)
    constant = (-1 if negative else 1) * dimensions * LOG_2PI / 2
    assert_close(
        log_density(*args),
        right,
        f"{what} at {in_words(*args)}",
        atol=atol,
        rtol=rtol,
        sizes={"dimensions": dimensions} if dimensions > 1 else None,
        alternatives={
            f"the constant {'' if negative else '−'}(D/2) ln 2π is missing, with D = {dimensions}": right + constant,
            "this is the density, not its logarithm": as_double(expected).exp(),
        },
    )


def assert_bound(
    draws: Any,
    log_p: Tensor,
    *,
    deviation: Tensor | float,
    gap: Tensor | None = None,
    false_failure: float = FALSE_FAILURE,
    what: str = "the bound",
) -> None:
    """Draws of a lower bound on ln p(x) have the mean they should have: ln p(x) − gap, or no more than ln p(x).

    Args:
        draws: (N, B): independent draws of the bound for each of B samples.
        log_p: exact ln p(x) in nats, (B,).
        gap: exact KL(q ‖ posterior), (B,); with it the mean is known. All zero: q is the posterior, and for weights
            that are ratios of three densities every draw must equal ln p(x); then `deviation` is 0 as well.
        deviation: the largest standard deviation a right draw has, (B,) or a number: `elbo_deviation` of a law.
        false_failure: largest probability of failing right draws.
    """
    values = assert_shape(draws, (-1, *log_p.shape), what)
    size = torch.as_tensor(deviation, dtype=torch.float64)
    exact = as_double(log_p)
    if bool((size == 0).all()):
        if gap is None or bool((gap != 0).any()):
            raise AuthorError("draws without deviation equal ln p(x): hand over a gap of zeros")
        assert_close(values, exact.expand(values.shape), f"{what} where q is the posterior, in every draw", rtol=1e-5)
        return
    right = exact if gap is None else exact - as_double(gap)
    sides = "above" if gap is None else "both"
    assert_mean(values, right, bound=size, sides=sides, false_failure=false_failure, what=what)


def assert_increasing(
    values: Any,
    *,
    slack: float = 1e-8,
    gains: float | None = None,
    length: int | None = None,
    what: str = "the sequence",
) -> Tensor:
    """A sequence of numbers never falls by more than `slack`; returns it. Blind to a step that climbs too little.

    Args:
        values: a list of numbers or a tensor (n,), n ≥ 2.
        slack: accepted fall from one number to the next: rounding, or chance.
        gains: what the last must lie above the first at least.
        length: how many numbers there must be.
    """
    values = contents(values)
    if isinstance(values, list | tuple):
        if not values:
            raise Wrong(f"{what} is empty")
        if length is not None and len(values) != length:
            raise Wrong(f"{what} should hold {length} numbers, it holds {len(values)}")
        values = torch.stack([as_double(assert_shape(value, (), f"each number of {what}")) for value in values])
    found = as_double(assert_real(assert_shape(values, (-1,), what), what))
    if len(found) < 2 or (length is not None and len(found) != length):
        asked = "two numbers or more" if length is None else f"{length} numbers"
        raise Wrong(f"{what} should hold {asked}, it holds {len(found)}")
    falls = found[:-1] - found[1:]
    if not bool((falls <= slack).all()):
        worst = int(falls.argmax())
        raise Wrong(
            f"{what} should never fall, but after number {worst + 1} of {len(found)} it falls by "
            f"{float(falls[worst]):.3g}, from {float(found[worst]):.6g} to {float(found[worst + 1]):.6g}; "
            f"{int((falls > slack).sum())} of {len(falls)} steps fall"
        )
    if gains is not None and not float(found[-1] - found[0]) >= gains:
        raise Wrong(f"{what} should rise by at least {gains:.3g}, it rises by {float(found[-1] - found[0]):.3g}")
    return found
