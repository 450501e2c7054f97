"""Samplers against exact laws, with a stated probability of failing a right answer.

Every assertion here fails a right sampler with probability at most `false_failure`, 1e-6 unless told otherwise, over
fresh seeds:

- `assert_samples_follow`: Pearson's χ² against exact probabilities of all states. States expected fewer than 50 times
  are pooled. The statistic's tail is then at most 8.8 times χ²'s at 1e-7, so the test rejects at a tenth of the
  stated rate. Total variation in the message says how far off the law is.
- `assert_frequencies`: exact binomial tails of each pixel, Bonferroni over pixels.
- `assert_moments`: normal samples; exact normal and χ² laws of sample mean and variance, Bonferroni over coordinates.
- `assert_samples_follow_conditionals`: for models too large to enumerate. Σ h_i (x_i − p_i) is a martingale whatever
  the model, for any h_i computed from the pixels before; Freedman's inequality bounds its tail exactly.

Compare a sampler with the exact law of the model it samples, never with the law of the data (rule R3), and use
strong conditionals: a weakly dependent model does not expose a wrong order of sampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.vocabulary.chance import FALSE_FAILURE
from autograder.vocabulary.likelihood import state_index
from autograder.vocabulary.orders import by_position
from autograder.vocabulary.tensors import (
    argmax_index,
    as_double,
    as_tensor,
    assert_binary,
    assert_count,
    assert_real,
    assert_rows,
    assert_shape,
)

PIXELS = 1 << 21  # of samples that are followed pixel by pixel
COUNTED = 1_000_000  # samples, at most
POOLED = 50.0  # expected count below which states are pooled
TAIL = 10.0  # the statistic's tail is at most 8.8 times χ²'s at 1e-7: two pools, exact binomial; more pools are milder


def draw_twice(
    sampler: Callable[[int], Any], n: int, shape: Sequence[int] | None = None, what: str = "the samples"
) -> Tensor:
    """Two calls of `n` samples each, joined, shape (2n, *shape); a sampler that repeats itself fails.

    Args:
        sampler: called with the number of samples; reseed before each call, or leave the generator running.
        n: at least 8, and large enough that equal batches do not happen by chance.
        shape: of one sample, checked where given.
    """
    first = as_tensor(sampler(n), what)
    asked = (n, *(shape if shape is not None else first.shape[1:]))
    first, second = (assert_real(assert_shape(batch, asked, what), what) for batch in (first, sampler(n)))
    if first.dtype != second.dtype:
        raise Wrong(f"{what} have another dtype from call to call")
    if torch.equal(first, second):
        raise Wrong(
            f"two calls of {what} returned the same {n} samples",
            hint="no random numbers enter, or something fixes them: a seed set inside, noise drawn once and kept",
        )
    if torch.equal(first[: n // 2], first[n // 2 : 2 * (n // 2)]):
        raise Wrong(f"{what}: the second half of {n} samples equals the first half")
    return torch.cat([first, second])


def assert_samples_follow(
    samples: Tensor,
    probabilities: Tensor,
    *,
    alternatives: Mapping[str, Tensor] | None = None,
    false_failure: float = FALSE_FAILURE,
    what: str = "the samples",
) -> None:
    """Samples follow an exact law over finitely many states, by χ².

    Args:
        samples: independent, binary (N, *shape), counted as states of `enumerate_binary`, or state numbers (N,).
        probabilities: of all states, shape (S,), summing to one. A state of probability zero must not occur.
        alternatives: hints by the wrong laws that prove them, e.g. {"pixels are sampled column by column": law}. A
            hint is given when the samples follow that law by the same test.
        false_failure: largest probability of failing samples of the right law, at least 1e-6.
    """
    p = as_double(probabilities)
    if false_failure < FALSE_FAILURE:
        raise AuthorError(f"the tail of χ² is known down to {FALSE_FAILURE}, asked for {false_failure}")
    if abs(float(p.sum()) - 1) > 1e-4 or bool((p < 0).any()):
        raise AuthorError(f"probabilities must be non-negative and sum to 1, they sum to {float(p.sum())}")
    counts = _count(samples, len(p), what)
    n = int(counts.sum())
    impossible = (p == 0) & (counts > 0)
    if impossible.any():
        raise Wrong(f"{what}: {int(counts[impossible].sum())} of {n} have probability zero under the model")
    statistic, df, p_value = chi_square(counts, p)
    if p_value >= false_failure / TAIL:
        return
    variation = 0.5 * float((counts / n - p).abs().sum())
    hints = [hint for hint, law in (alternatives or {}).items() if follows(counts, as_double(law), false_failure)]
    if int(counts.max()) == n:
        hints = [f"all {n} samples are the same"]
    threshold = stats.chi2.isf(false_failure / TAIL, df)
    raise Wrong(
        f"{what} do not follow the model's own law: χ²({df}) = {statistic:.1f}, at most {threshold:.1f} is accepted; "
        f"total variation distance {variation:.3f} over {n} samples",
        hint=hints[0] if len(hints) == 1 else None,
        detail=f"counts {counts[:64].int().tolist()}, expected {(n * p)[:64].round(decimals=1).tolist()}",
    )


def _count(samples: Any, states: int, what: str) -> Tensor:
    """How often each state occurs among binary images or state numbers, (states,), float64."""
    tensor = assert_count(samples, COUNTED * max(round(math.log2(states)), 1), what)
    if tensor.dim() == 1 and not (tensor.is_floating_point() or tensor.is_complex()) and tensor.dtype != torch.bool:
        codes = assert_real(tensor, what).long()
        if bool(((codes < 0) | (codes >= states)).any()):
            raise Wrong(f"{what} lie outside the {states} possible states")
    else:
        pixels = math.prod(tensor.shape[1:])
        if tensor.dim() < 2 or pixels != math.log2(states):
            raise Wrong(
                f"{what} should be binary images of {round(math.log2(states))} pixels, got {tuple(tensor.shape)}"
            )
        codes = state_index(assert_binary(tensor, what))
    return torch.bincount(codes, minlength=states).double()


def follows(counts: Tensor, p: Tensor, false_failure: float = FALSE_FAILURE) -> bool:
    """Counts of states are compatible with a law."""
    if bool(((p == 0) & (counts > 0)).any()):
        return False
    return chi_square(counts, p)[2] >= false_failure / TAIL


def chi_square(counts: Tensor, p: Tensor) -> tuple[float, int, float]:
    """Pearson's statistic with rare states pooled, its degrees of freedom, and the χ² p-value.

    Raises:
        Wrong: the samples are so few that everything ends in one pool.
    """
    n = float(counts.sum())
    ranked = torch.argsort(p, stable=True)
    expected, observed = (n * p / p.sum())[ranked], counts[ranked]
    pool = _pools(expected)
    expected, observed = (torch.zeros(int(pool[-1]) + 1).double().index_add(0, pool, q) for q in (expected, observed))
    if len(expected) < 2:
        raise Wrong(f"{int(n)} samples are too few to test a law of {len(p)} states")
    statistic = float(((observed - expected) ** 2 / expected).sum())
    df = len(expected) - 1
    return statistic, df, float(stats.chi2.sf(statistic, df))


def _pools(expected: Tensor) -> Tensor:
    """Numbers of pools for states in ascending order of expected counts, so that each pool expects at least `POOLED`.

    Frequent states stay alone. Rare ones are grouped where their running sum passes a multiple of 2 · POOLED, which
    leaves more than POOLED in every group but the last; that one joins its neighbour.
    """
    rare = int((expected < POOLED).sum())
    group = (expected[:rare].cumsum(0) / (2 * POOLED)).long()
    group = torch.unique_consecutive(group, return_inverse=True)[1] if rare else group
    pools = int(group[-1]) + 1 if rare else 0
    alone = torch.arange(len(expected) - rare) + pools
    pool = torch.cat([group, alone])
    if rare and float(expected[:rare][group == pools - 1].sum()) < POOLED:
        pool = torch.where(pool >= max(pools - 1, 1), pool - 1, pool)
    return pool


def assert_frequencies(
    samples: Tensor, probabilities: Tensor, *, false_failure: float = FALSE_FAILURE, what: str = "the samples"
) -> None:
    """Each pixel of binary samples is 1 with its exact probability: binomial tails, Bonferroni over pixels.

    Args:
        samples: independent, (N, *shape).
        probabilities: of a 1 at each pixel, shape `shape`; or one number for all.
    """
    rows = assert_rows(samples, None if probabilities.dim() == 0 else probabilities.shape, what)
    assert_binary(rows, what)
    n, shape = len(rows), rows.shape[1:]
    p = as_double(probabilities).expand(shape)
    ones = rows.sum(0)
    lower = torch.as_tensor(stats.binom.cdf(ones.numpy(), n, p.numpy()))
    upper = torch.as_tensor(stats.binom.sf(ones.numpy() - 1, n, p.numpy()))
    tail = torch.minimum(lower, upper).reshape(shape)
    bad = ~(tail >= false_failure / (2 * max(tail.numel(), 1)))
    if bad.any():
        gap = torch.where(bad, (ones / n - p).abs(), torch.zeros_like(p))
        index = argmax_index(gap)
        sd = float((p[index] * (1 - p[index]) / n).sqrt())
        raise Wrong(
            f"{what} have wrong frequencies of ones: off by {float(gap[index]):.3f} at index {index}, where a standard "
            f"error is {sd:.3f}; {int(bad.sum())} of {bad.numel()} pixels are off",
            detail=f"got {(ones / n).flatten()[:64].tolist()}, expected {p.flatten()[:64].tolist()}",
        )


def assert_moments(
    samples: Tensor,
    mean: Tensor | float,
    variance: Tensor | float,
    *,
    false_failure: float = FALSE_FAILURE,
    what: str = "the samples",
) -> None:
    """Independent normal samples have this mean and variance in every coordinate, two-sided, exact tails.

    Args:
        samples: (N, *shape), N ≥ 2, from a law whose coordinates are normal.
        mean: of the exact law, shape `shape` or one number.
        variance: likewise; of the sampler's own discretised law, not of the data (rule R3).
    """
    sizes = {torch.as_tensor(q).shape for q in (mean, variance)} - {torch.Size(())}
    values = assert_rows(samples, next(iter(sizes), None), what)
    n, shape = len(values), values.shape[1:]
    m, v = (torch.as_tensor(q, dtype=torch.float64).expand(shape) for q in (mean, variance))
    level = false_failure / (4 * max(math.prod(shape), 1))  # two moments, two sides, every coordinate
    z = (values.mean(0) - m) / (v / n).sqrt()
    z_max = float(stats.norm.isf(level))
    if not bool((z.abs() <= z_max).all()):
        index = argmax_index(z.abs().nan_to_num(nan=math.inf))
        raise Wrong(
            f"{what} have the wrong mean: off by {float((values.mean(0) - m).abs()[index]):.3g}{_at(index)}, "
            f"{float(z[index].abs()):.1f} standard errors, at most {z_max:.1f} are accepted over {n} samples",
            detail=f"mean {float(values.mean(0)[index])}, expected {float(m[index])}",
        )
    ratio = values.var(0) / v
    low, high = (float(q) / (n - 1) for q in (stats.chi2.ppf(level, n - 1), stats.chi2.isf(level, n - 1)))
    if not bool(((ratio >= low) & (ratio <= high)).all()):
        index = argmax_index(ratio.log().abs().nan_to_num(nan=math.inf))
        size = "too large" if float(ratio[index]) > 1 else "too small"
        factor = max(float(ratio[index]), 1 / max(float(ratio[index]), 1e-300))
        raise Wrong(
            f"{what} have a variance that is {size} by a factor {factor:.3g}{_at(index)}; "
            f"over {n} samples chance explains {max(high, 1 / low):.3g}",
            detail=f"variance {float(values.var(0)[index])}, expected {float(v[index])}",
        )


def assert_samples_follow_conditionals(
    samples: Tensor,
    logits_fn: Callable[[Tensor], Any],
    *,
    where: Tensor | None = None,
    false_failure: float = FALSE_FAILURE,
    what: str = "the samples",
) -> None:
    """Binary samples of any size were drawn pixel by pixel from the model's own conditionals.

    For logits ℓ_i of the pixels before i, x_i − σ(ℓ_i) has mean zero given the past, so for a right sampler its sums
    stay near zero when weighted by 1, by tanh(ℓ_i/2) and by tanh((ℓ_i − c_i)/2), c_i being the mean logit of the first
    quarter of the samples, which is then left out. A wrong order, a temperature, an argmax, or 0 and 1 exchanged move
    them away. The bound is Freedman's inequality, without approximation. Assert the model's causality first.

    Args:
        samples: (N, C=1, H, W) or (N, n); a completed image counts only its sampled pixels.
        logits_fn: the model's logits of a 1, as `by_position` reads them.
        where: boolean, shape of the samples: the pixels that were sampled; the rest was given.
    """
    x = as_tensor(samples, what)
    if x.dim() not in (2, 3, 4) or x.numel() == 0:
        raise Wrong(f"{what} should have shape (N, C, H, W) or (N, n), got {tuple(x.shape)}")
    x = assert_binary(assert_count(x, PIXELS, what), what)
    laid_out = by_position(as_tensor(logits_fn(x.clone()), "the logits"), tuple(x.shape), "the logits")
    values = as_double(assert_real(laid_out, "the logits"))
    logits = values[..., 0] if values.shape[-1] == 1 else values[..., 1] - values[..., 0]
    chosen = torch.ones_like(logits) if where is None else as_double(where).expand(x.shape).reshape(logits.shape)
    p = logits.sigmoid()
    error = (as_double(x).reshape(logits.shape) - p) * chosen
    quarter = len(x) // 4
    centred = ((logits - logits[:quarter].mean(0)) / 2).tanh() if quarter else torch.zeros_like(p)
    centred[:quarter] = 0.0
    weights = {
        "how often a pixel is 1": torch.ones_like(p),
        "how the frequency of ones follows the model's logits": (logits / 2).tanh(),
        "how each pixel's frequency of ones follows its logit": centred,
    }
    for name, weight in weights.items():
        drift = float((weight * error).sum())
        variance = float((weight**2 * p * (1 - p) * chosen).sum())
        bound = _freedman(variance, false_failure / 3)
        if not abs(drift) <= bound:
            sd = math.sqrt(max(variance, 1.0))
            raise Wrong(
                f"{what} were not drawn from the model's own conditionals: {name} is off by {abs(drift) / sd:.1f} "
                f"standard errors over {int(chosen.sum())} sampled pixels, at most {bound / sd:.1f} are accepted"
            )


def _freedman(variance: float, level: float) -> float:
    """A bound on |M| that a martingale of steps at most 1 with predictable variance V exceeds with probability ≤ level.

    Freedman: P(|M| ≥ t, V ≤ v) ≤ 2 exp(−t² / (2v + 2t/3)). V is known only after the fact, so v is taken from a grid of
    ratio e^¼ between 1 and 5e8, and the level is shared among its 80 values.
    """
    v = math.exp(math.ceil(4 * math.log(max(variance, 1.0))) / 4)
    log_term = math.log(2 * 80 / level)
    return log_term / 3 + math.sqrt((log_term / 3) ** 2 + 2 * v * log_term)


def _at(index: tuple[int, ...]) -> str:
    return f" at index {index}" if index else ""
