r"""Fréchet distance: two sets of features, summarised as two Gaussians, and how far the Gaussians are apart.

With means m and full covariances S (divided by N − 1), the squared 2-Wasserstein distance between N(m_a, S_a) and
N(m_b, S_b) is

    d = |m_a − m_b|² + tr(S_a + S_b − 2 (S_a S_b)^{1/2}).

Features of an Inception network make it the "Fréchet Inception distance"; features of a classifier of digits make it
ours.

NOTE: the estimate is biased upwards by about C/N, with C depending on the model, so distances at different N cannot be
compared. The interval here is the basic bootstrap interval (see `bootstrap`), which takes the bias off to first order
and so may lie wholly below the estimate. Measured on equal Gaussian laws with 32 features, N = 180, 400, 1000: the
estimate is 3.3, 1.5, 0.61, the bootstrap's bias 3.0, 1.4, 0.58. Features in tight clusters, as those of digits, make
the bootstrap overstate the bias when N is no more than a few times F, and intervals then err low. `frechet_infinity`
goes to N = infinity by extrapolation instead.

GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel et al., 2017), eq. 6,
https://arxiv.org/abs/1706.08500
Effectively Unbiased FID and Inception Score and Where to Find Them (Chong and Forsyth, 2020),
https://arxiv.org/abs/1911.07023
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from reference_models.evaluation.bootstrap import Interval, bootstrap
from reference_models.evaluation.sets import require_two_sets
from reference_models.foundations.wasserstein import gaussian_w2_squared
from reference_models.parts.require import at_least

__all__ = ["frechet_distance", "frechet_infinity", "frechet_interval"]


def _moments(features: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (F,) and covariance (F, F) of features (N, F) in which row i stands counts[i] times."""
    n = counts.sum()
    mean = counts @ features / n
    centred = features - mean
    return mean, (centred * counts[:, None]).T @ centred / (n - 1)


def _between(features_a: Tensor, features_b: Tensor, counts_a: Tensor, counts_b: Tensor) -> Tensor:
    return gaussian_w2_squared(*_moments(features_a, counts_a), *_moments(features_b, counts_b))


def frechet_distance(features_a: Tensor, features_b: Tensor) -> Tensor:
    """The distance between features of shape (N, F) and (M, F): a scalar in the dtype of features_a, from float64.

    In squared units of the features, at least 0. Raises ValueError for fewer than 2 examples, unequal F or values
    that are not finite.
    """
    require_two_sets(features_a, features_b)
    a, b = features_a.double(), features_b.double()
    return _between(a, b, a.new_ones(len(a)), b.new_ones(len(b))).to(features_a.dtype)


def frechet_interval(
    features_a: Tensor,
    features_b: Tensor,
    *,
    resamples: int = 200,
    level: float = 0.95,
    generator: Generator | None = None,
) -> Interval:
    """The distance with its basic bootstrap interval; both sets are resampled.

    The ends are cut at 0, the least a distance can be. Raises ValueError as `frechet_distance`, and when a set holds
    no more examples than there are features: its covariance is singular, and a resample's would be more so.
    """
    require_two_sets(features_a, features_b)
    fewest = min(len(features_a), len(features_b))
    if fewest <= features_a.shape[1]:
        width = features_a.shape[1]
        raise ValueError(f"an interval needs more examples than features, got {fewest} examples of {width}")
    a, b = features_a.double(), features_b.double()
    interval = bootstrap(
        lambda counts_a, counts_b: _between(a, b, counts_a, counts_b),
        (len(a), len(b)),
        like=a,
        resamples=resamples,
        level=level,
        kind="basic",
        generator=generator,
    )
    return Interval(interval.value, max(0.0, interval.low), max(0.0, interval.high), level, interval.bias)


def frechet_infinity(
    features_a: Tensor, features_b: Tensor, *, points: int = 15, generator: Generator | None = None
) -> float:
    """The distance at infinitely many examples: the intercept of a line through distances at `points` sizes, over 1/N.

    Sizes run evenly in 1/N from half of the smaller set to all of it; each takes a random subset of both sets.
    Raises ValueError as `frechet_distance`, for fewer than 10 examples, and for fewer than 2 points.
    """
    require_two_sets(features_a, features_b, minimum=10)
    at_least("points", points, 2)
    a, b = features_a.double(), features_b.double()
    most = min(len(a), len(b))
    inverse = torch.linspace(2 / most, 1 / most, points, dtype=torch.float64)
    sizes = (1 / inverse).round().long().tolist()
    distances = []
    for size in sizes:
        rows_a = torch.randperm(len(a), generator=generator, device=a.device)[:size]
        rows_b = torch.randperm(len(b), generator=generator, device=b.device)[:size]
        distances.append(float(frechet_distance(a[rows_a], b[rows_b])))
    design = torch.stack([torch.ones(points, dtype=torch.float64), 1 / torch.tensor(sizes, dtype=torch.float64)], dim=1)
    line = torch.linalg.lstsq(design, torch.tensor(distances, dtype=torch.float64)[:, None]).solution
    return float(line[0])
