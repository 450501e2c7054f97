"""How good a trained model is, as points on a line between a floor and a target.

The natural scale of a density model q is its excess negative log-likelihood over the entropy of the data p, which is
KL(p ‖ q) ≥ 0. A mean below zero is impossible for an honest density. Where the exact −log p of the same samples is
known this is tested without approximation: E Π_i q(x_i)/p(x_i) ≤ 1, so Σ log q − log p exceeds log(1/δ) with
probability at most δ (Markov's inequality).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from autograder.errors import AuthorError, PartialCredit, Wrong
from autograder.vocabulary.chance import FALSE_FAILURE
from autograder.vocabulary.measures import note
from autograder.vocabulary.tensors import as_double, assert_real, assert_rows, assert_shape


def score_line(value: float, floor: float, target: float) -> float:
    """The share of points earned: 0 at `floor` or worse, 1 at `target` or better, linear between. NaN earns 0.

    Whether more or less is better follows from which side of the floor the target lies on.
    """
    if floor == target:
        raise AuthorError(f"floor and target must differ, both are {floor}")
    share = (value - floor) / (target - floor)
    if not share > 0.0:
        return 0.0
    return min(share, 1.0)


def assert_score(value: Any, floor: float, target: float, what: str, *, unit: str = "") -> None:
    """Full points at `target` or better, none at `floor` or worse, a share between them.

    Args:
        value: a number, or a tensor of shape ().

    Raises:
        PartialCredit: the value lies between floor and target.
        Wrong: the value is no better than the floor, or not a number.
    """
    value = float(as_double(assert_real(assert_shape(value, (), what), what)))
    share = score_line(value, floor, target)
    note(what, value, floor, target, unit)
    if share >= 1.0:
        return
    better = "at most" if target < floor else "at least"
    unit = f" {unit}" if unit else ""
    sentence = f"{what} is {value:.3f}{unit}; full points need {better} {target:g}{unit}, {floor:g}{unit} earns none"
    if share > 0.0:
        raise PartialCredit(share, sentence)
    raise Wrong(sentence)


def assert_excess(
    nll: Tensor,
    entropy: Tensor | float,
    *,
    floor: float,
    target: float,
    at_most: float = math.inf,
    false_failure: float = FALSE_FAILURE,
    what: str = "the test negative log-likelihood",
) -> None:
    """Mean NLL lies above the entropy of the data by no more than `target` nats; below the entropy it is a leak.

    Args:
        nll: −log q(x_i) in nats summed over dimensions, shape (N,), computed by the judge on fresh samples.
        entropy: exact −log p(x_i) of the same samples, shape (N,) (sharp, and exact at any N); or the entropy
            in nats, a number (then the leak test is normal, by the spread of `nll`).
        floor: excess in nats that earns nothing.
        target: excess that earns everything, below `floor`.
        at_most: nats that one sample counts with. The NLL of a good continuous density has heavy tails: one sample of
            hundreds of thousands that lies far out can cost 500 nats, and would decide alone.
        false_failure: largest probability of calling an honest model a leak.

    Raises:
        PartialCredit, Wrong: see `assert_score`; Wrong also on a leak, and on any NaN.
    """
    if not target < floor:
        raise AuthorError(f"a smaller excess is better: target {target} must lie below floor {floor}")
    exact = torch.as_tensor(entropy, dtype=torch.float64)
    values = assert_shape(nll, exact.shape if exact.dim() else (-1,), what)
    impossible = values == math.inf  # p(x) = 0 of something that happened: honest, and worthless
    assert_rows(torch.where(impossible, torch.zeros_like(values), values), (), what)
    excess = as_double(values).clamp(max=at_most) - exact
    mean = float(excess.mean())
    if _below_entropy(excess, exact.dim() == 1, false_failure):
        raise Wrong(
            f"{what} lies {-mean:.3f} nats below the entropy of the data, where no honest density can lie",
            hint="the model sees what it predicts, or the likelihood is not normalised",
        )
    assert_score(mean, floor, target, f"excess of {what} over the entropy of the data", unit="nats")


def _below_entropy(excess: Tensor, paired: bool, false_failure: float) -> bool:
    if paired:
        return float(excess.sum()) < math.log(false_failure)
    deviation = float(excess.std()) / math.sqrt(len(excess))
    # NOTE: Student's t, because the spread is estimated; normality of the mean over N values is assumed here only.
    return float(excess.mean()) < -float(stats.t.isf(false_failure, len(excess) - 1)) * max(deviation, 1e-12)


def assert_same_law(
    samples: Tensor,
    reference: Tensor,
    *,
    projections: int = 8,
    generator: torch.Generator | None = None,
    false_failure: float = FALSE_FAILURE,
    what: str = "the samples",
) -> None:
    """Two sets of independent samples come from one law, as far as coordinates and random projections show.

    Kolmogorov–Smirnov distance of each coordinate and projection against the Dvoretzky–Kiefer–Wolfowitz–Massart bound,
    Bonferroni: exact at any size and for discrete laws. It is a test of equality: for a sampler with a known law, not
    for a trained model, which earns points by `assert_score`.

    Args:
        samples: (N, *shape).
        reference: (M, *shape), drawn by the judge.
        projections: random directions tested besides the coordinates.
        generator: source of the directions.
    """
    a, b = assert_rows(samples, reference.shape[1:], what).flatten(1), as_double(reference).flatten(1)
    directions = torch.randn(a.shape[1], projections, generator=generator, dtype=torch.float64)
    a, b = torch.cat([a, a @ directions], 1), torch.cat([b, b @ directions], 1)
    level = false_failure / a.shape[1]
    # One-sample bound for each set at half the level, so no condition on the sizes is needed.
    bound = sum(math.sqrt(math.log(4 / level) / (2 * len(part))) for part in (a, b))
    distance = max(float(stats.ks_2samp(x, y, method="asymp").statistic) for x, y in zip(a.t(), b.t(), strict=True))
    if not distance <= bound:
        raise Wrong(
            f"{what} do not have the law they should have: largest distance between distribution functions "
            f"{distance:.3f}, at most {bound:.3f} is accepted for {len(a)} and {len(b)} samples"
        )
