r"""Improved precision and recall: is each sample among the data, and each of the data among the samples?

A set is widened into a manifold by drawing round each of its points a ball that reaches its k-th nearest other point,

    M_k(Φ) = ⋃_{φ in Φ} B(φ, NN_k(φ, Φ)),
    precision = part of fake points in M_k(real),     recall = part of real points in M_k(fake).

Precision falls with bad samples, recall with modes left out. Balls are closed. A point is not its own neighbour.

Intervals hold the manifolds fixed and resample the points that are looked up: they say how sure the number is for these
manifolds. Resampling the manifolds would double points and shrink the balls round them to nothing.

Improved Precision and Recall Metric for Assessing Generative Models (Kynkäänniemi et al., 2019), eqs. 1 and 2,
https://arxiv.org/abs/1904.06991
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from reference_models.evaluation.bootstrap import Interval, bootstrap_mean
from reference_models.evaluation.sets import blocks, kth_neighbour_distance, pairwise_distance, require_two_sets

__all__ = [
    "PrecisionRecall",
    "PrecisionRecallIntervals",
    "in_manifold",
    "precision_recall",
    "precision_recall_intervals",
]


@dataclass(frozen=True)
class PrecisionRecall:
    """Two numbers in [0, 1]."""

    precision: float
    recall: float


@dataclass(frozen=True)
class PrecisionRecallIntervals:
    """The same with their intervals."""

    precision: Interval
    recall: Interval


def in_manifold(points: Tensor, support: Tensor, k: int = 3) -> Tensor:
    """Whether each of the points (M, F) lies in a ball round one of the support (N, F): bool, shape (M,)."""
    radius = kth_neighbour_distance(support, k)  # (N,)
    inside = [
        (pairwise_distance(points[rows], support) <= radius).any(dim=1)
        for rows in blocks(len(points), len(support), points.device)
    ]
    return torch.cat(inside)


def precision_recall(real: Tensor, fake: Tensor, *, k: int = 3) -> PrecisionRecall:
    """Precision and recall of fake features (M, F) against real ones (N, F); the paper takes k = 3 and N = M = 50000.

    Raises ValueError for features that cannot be compared and for k outside 1..min(N, M) − 1.
    """
    require_two_sets(real, fake, names=("real", "fake"))
    precision, recall = in_manifold(fake, real, k), in_manifold(real, fake, k)
    return PrecisionRecall(float(precision.double().mean()), float(recall.double().mean()))


def precision_recall_intervals(
    real: Tensor,
    fake: Tensor,
    *,
    k: int = 3,
    resamples: int = 1000,
    level: float = 0.95,
    generator: Generator | None = None,
) -> PrecisionRecallIntervals:
    """The same with percentile intervals, given the manifolds."""
    require_two_sets(real, fake, names=("real", "fake"))
    precision, recall = in_manifold(fake, real, k).double(), in_manifold(real, fake, k).double()
    return PrecisionRecallIntervals(
        bootstrap_mean(precision, resamples=resamples, level=level, generator=generator),
        bootstrap_mean(recall, resamples=resamples, level=level, generator=generator),
    )
