r"""The bootstrap: how far a metric would move if the samples behind it were drawn again.

The n examples behind a metric are drawn anew from themselves, with replacement; the spread of the metric over such
resamples stands in for its spread over fresh samples. A resample is written as a vector of counts c with Σ c_i = n
(example i appears c_i times), so a metric that takes part is a function of counts, and all ones gives the metric
itself. Two kinds of interval at level 1 − a:

    percentile   [q_{a/2}, q_{1−a/2}]                    of the resampled values θ*
    basic        [2θ − q_{1−a/2}, 2θ − q_{a/2}]

Which metric takes which. An estimate with a bias of order 1/n (the Fréchet distance errs upwards, the Inception score
downwards) is biased once more by resampling: θ* lies as far from θ as θ from the truth, on the same side.
Percentile intervals then miss the truth twice over; the basic interval turns the shift round, and so need not contain
the estimate. Unbiased metrics (means, the kernel MMD without its diagonal) and those confined to [0, 1] take the
percentile interval. Metrics built on nearest neighbours keep the neighbourhoods fixed and resample who is counted: a
duplicate would be its own neighbour at distance zero.

Bootstrap Methods: Another Look at the Jackknife (Efron, 1979), https://doi.org/10.1214/aos/1176344552.
The two intervals: Bootstrap Methods and their Application (Davison and Hinkley, 1997), eqs. 5.6 and 5.18,
https://doi.org/10.1017/CBO9780511802843.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from reference_models.parts.require import at_least, one_of, within

__all__ = ["Interval", "bootstrap", "bootstrap_mean", "resampled_counts"]


@dataclass(frozen=True)
class Interval:
    """An estimate with a confidence interval, in the metric's own unit.

    `bias` is the bootstrap's estimate of the estimate's bias, the mean of the resampled values less the value;
    `value - bias` is the estimate with its bias taken off (to first order in 1/n).
    """

    value: float
    low: float
    high: float
    level: float
    bias: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def resampled_counts(n: int, *, like: Tensor, generator: Generator | None = None) -> Tensor:
    """How often each of n examples appears in one resample of n: shape (n,), sum n, dtype and device of `like`."""
    drawn = torch.randint(n, (n,), generator=generator, device=like.device)
    return torch.bincount(drawn, minlength=n).to(like.dtype)


def bootstrap(
    statistic: Callable[..., Tensor],
    sizes: tuple[int, ...],
    *,
    like: Tensor,
    resamples: int = 1000,
    level: float = 0.95,
    kind: Literal["percentile", "basic"] = "percentile",
    generator: Generator | None = None,
) -> Interval:
    """The statistic and its confidence interval.

    statistic: takes one vector of counts for each set of examples, shape (n_i,), and returns a scalar; all ones is
        the estimate itself.
    sizes: n_i, how many examples each set holds; the sets are resampled independently of one another.
    like: a tensor whose dtype and device the counts take (the generator lives on that device).
    Raises ValueError for an empty set, a level outside (0, 1), fewer than 2 resamples, an unknown kind, or a statistic
    that is no finite number on a resample: sets too small for it.
    """
    at_least("resamples", resamples, 2)
    within("level", level, 0, 1, "()")
    one_of("kind", kind, ("percentile", "basic"))
    for n in sizes:
        at_least("the number of examples", n, 1)
    with torch.no_grad():
        value = float(statistic(*(torch.ones(n, dtype=like.dtype, device=like.device) for n in sizes)))
        drawn = [
            float(statistic(*(resampled_counts(n, like=like, generator=generator) for n in sizes)))
            for _ in range(resamples)
        ]
    values = torch.tensor(drawn, dtype=torch.float64, device="cpu")
    if not bool(values.isfinite().all()) or not math.isfinite(value):
        undefined = int((~values.isfinite()).sum())
        raise ValueError(f"the statistic must be finite, got {value:g}, and no number on {undefined} resamples")
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64, device="cpu")
    low, high = values.quantile(tails).tolist()
    if kind == "basic":
        low, high = 2 * value - high, 2 * value - low
    return Interval(value, low, high, level, bias=float(values.mean()) - value)


def bootstrap_mean(
    values: Tensor, *, resamples: int = 1000, level: float = 0.95, generator: Generator | None = None
) -> Interval:
    """The mean of one number an example, values of shape (N,), with its percentile interval."""
    return bootstrap(
        lambda counts: (counts * values).sum() / counts.sum(),
        (len(values),),
        like=values,
        resamples=resamples,
        level=level,
        generator=generator,
    )
