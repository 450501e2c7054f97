"""Exact likelihoods of autoregressive models over binary images, computed by the judge.

p(x) = Π_i p(x_i | x_before i). A student's `log_prob` is never taken at its word: it must sum to one over all states
*and* equal the sum of log-conditionals, because a normalised density may still have lost every dependence.
`sequential_log_likelihood` goes further: the value being predicted has not been sent to the student's code when its
probability is asked for, so nothing that code does can leak it.

All values are in nats and summed over pixels, one per image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from autograder.errors import AuthorError, Wrong
from autograder.seeds import apart
from autograder.vocabulary.orders import Order, by_position, order_of
from autograder.vocabulary.tensors import (
    agree,
    as_double,
    as_tensor,
    assert_close,
    assert_real,
    assert_shape,
    tolerance_of,
)


def enumerate_binary(shape: int | Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """All binary vectors or images of a shape, (2^n, *shape).

    State k holds the binary digits of k, most significant first in raster order.

    Args:
        shape: of one image without the batch, e.g. (1, 3, 3); or the number of entries of a vector. At most 20 entries.
    """
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    n = math.prod(sizes)
    if not 1 <= n <= 20:
        raise AuthorError(f"enumeration needs between 1 and 20 binary entries, got {n}")
    codes = torch.arange(2**n).unsqueeze(1)
    digits = (codes >> torch.arange(n - 1, -1, -1)) & 1
    return digits.to(dtype).reshape(2**n, *sizes)


def state_index(x: Tensor) -> Tensor:
    """The number of each binary image in the order of `enumerate_binary`, shape (B,)."""
    flat = x.detach().cpu().flatten(1).long()
    return (flat << torch.arange(flat.shape[1] - 1, -1, -1)).sum(1)


def bits_per_dim(nats: Tensor | float, dimensions: int) -> Tensor | float:
    """Negative log-likelihood of one sample in bits per dimension, from nats summed over dimensions."""
    return nats / (dimensions * math.log(2))


def conditional_log_probs(logits: Any, x: Tensor, what: str = "the logits") -> Tensor:
    """log p(x_i | x_before i) in float64 from logits, shape (B, n), positions in raster order.

    Logits may be laid out as `by_position` accepts; one number a position is the logit of a 1 (Bernoulli), two or more
    are unnormalised log-probabilities of the values 0, 1, … (categorical).
    """
    values = as_double(assert_real(by_position(as_tensor(logits, what), tuple(x.shape), what), what))  # (B, n, V)
    target = as_double(x).flatten(1)
    if values.shape[-1] == 1:
        return -functional.binary_cross_entropy_with_logits(values.squeeze(-1), target, reduction="none")
    return values.log_softmax(-1).gather(-1, target.long().unsqueeze(-1)).squeeze(-1)


def log_likelihood_from_conditionals(logits_fn: Callable[[Tensor], Any], x: Tensor) -> Tensor:
    """log p(x) of each image from one call of the model, in nats, shape (B,), float64.

    True only of a model whose conditionals were verified with `assert_causal`; otherwise use
    `sequential_log_likelihood`.
    """
    return conditional_log_probs(logits_fn(x), x).sum(1)


def sequential_log_likelihood(
    logits_fn: Callable[[Tensor], Any],
    x: Tensor,
    *,
    order: Order = "raster",
    generator: torch.Generator | None = None,
) -> Tensor:
    """log p(x) of each image with the future withheld, in nats, shape (B,), float64.

    Position i is asked for with positions from i on replaced by random bits, in the model's order, one call a position.
    The true x_i reaches the model only after its probability was read, so the result is the code length of a
    real predictor whatever the model does: a leak, a lookup of the batch or stored state cannot improve it.

    Args:
        logits_fn: maps images to logits, as `conditional_log_probs` reads them.
        x: binary images (B, C=1, H, W) or vectors (B, n) that the student's code has never seen.
        order: in which positions are predicted.
        generator: source of the random bits. They are drawn apart: x may come from it too.
    """
    flat = x.flatten(1)
    known = torch.randint(0, 2, flat.shape, generator=apart(generator)).to(x.dtype)
    total = torch.zeros(len(x), dtype=torch.float64)
    for position in order_of(order, tuple(x.shape)):
        log_probs = conditional_log_probs(logits_fn(known.reshape(x.shape).clone()), x)
        total += log_probs[:, position]
        known[:, position] = flat[:, position]
    return total


def assert_normalised(
    log_prob_fn: Callable[[Tensor], Any],
    shape: int | Sequence[int],
    *,
    atol: float | None = None,
    dtype: torch.dtype = torch.float32,
    what: str = "`log_prob`",
) -> Tensor:
    """Probabilities of all 2^n binary images sum to one. Returns log p of every state, (2^n,), float64.

    Blind to lost dependence (rule R1): pair it with `assert_causal` or `assert_log_prob_matches_conditionals`.

    Args:
        log_prob_fn: maps images (B, *shape) to nats (B,).
        shape: of one image without the batch.
        atol: accepted distance of the sum from one; 1e-4 in float32, 1e-7 in float64.
        dtype: of the images handed over.
    """
    states = enumerate_binary(shape, dtype)
    log_probs = assert_finite_log_probs(log_prob_fn(states.clone()), len(states), what)
    bound = atol if atol is not None else (1e-7 if log_probs.dtype == torch.float64 else 1e-4)
    values = as_double(log_probs)
    total = float(values.exp().sum())
    if abs(total - 1.0) <= bound:
        return values
    n = round(math.log2(len(states)))
    tries = {
        "the sign is flipped: this is the negative log-likelihood": -values,
        f"averaged over the {n} pixels: log p of an image is the sum over its pixels": values * n,
        f"negative, and averaged over the {n} pixels": -values * n,
        "in bits: natural logarithms are asked for": values * math.log(2),
    }
    hints = [s for s, v in tries.items() if abs(float(v.exp().sum()) - 1.0) <= max(bound, 1e-6)]
    found = f"{total:.6g}" if abs(total - 1.0) > 1e-4 else f"1 {'+' if total > 1 else '-'} {abs(total - 1.0):.1e}"
    raise Wrong(
        f"{what}: probabilities of all {len(states)} binary images of shape {tuple(states.shape[1:])} should sum to 1, "
        f"they sum to {found} (accepted error {bound:.0e})",
        hint=hints[0] if len(hints) == 1 else None,
    )


def assert_finite_log_probs(value: Any, batch: int, what: str) -> Tensor:
    """One log-probability an image: shape (batch,), no NaN, no +inf. −inf is a probability of zero."""
    log_probs = assert_shape(value, (batch,), what)
    assert_real(torch.where(log_probs == -math.inf, torch.zeros_like(log_probs), log_probs), what)
    return log_probs


def assert_log_prob_matches_conditionals(
    log_prob_fn: Callable[[Tensor], Any],
    logits_fn: Callable[[Tensor], Any],
    x: Tensor,
    *,
    what: str = "`log_prob`",
) -> None:
    """log p(x) equals the sum over pixels of the log-conditionals given by the model's own logits, one value an image.

    The model's causality is a separate property: assert it first.
    """
    terms = conditional_log_probs(logits_fn(x.clone()), x)
    expected, inverted = terms.sum(1), conditional_log_probs(logits_fn(x.clone()), 1 - x).sum(1)
    result = log_prob_fn(x.clone())
    got = as_tensor(result, what)
    if got.shape != expected.shape:
        raise Wrong(
            f"{what} should give one number an image, shape ({len(x)},), got shape {tuple(got.shape)}",
            hint=_reduction_hint(got, terms),
        )
    assert_close(
        result,
        expected,
        what,
        sizes={"pixels": terms.shape[1]},
        alternatives={"0 and 1 are exchanged: this is log p of the inverted image": inverted},
    )


def _reduction_hint(got: Tensor, terms: Tensor) -> str | None:
    """Which wrong reduction of the (B, n) log-conditionals gives exactly this."""
    total = terms.sum(1)
    tries = {
        "these are the log-probabilities of single pixels: sum them over the image": terms,
        "this is the mean over the batch": total.mean(),
        "this is the sum over the batch": total.sum(),
        "this is minus the mean over the batch: a loss, not log p of each image": -total.mean(),
        "this is the mean over images and pixels": terms.mean(),
        "there is one extra dimension of size 1 at the end: squeeze it": total.unsqueeze(1),
    }
    hits = []
    for sentence, values in tries.items():
        same = got.numel() == values.numel() and got.dim() >= values.dim()
        if same and agree(as_double(got).reshape(values.shape), values, tolerance_of(got.dtype)):
            hits.append(sentence)
    return hits[0] if len(hits) == 1 else None
