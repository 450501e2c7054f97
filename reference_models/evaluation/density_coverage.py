r"""Density and coverage: precision and recall that one outlier cannot fool.

One far-off real point has a huge ball and lets every fake point in; so density counts *how many* balls a fake point
is in, and coverage looks only at balls round real points, which training does not move. With r_i = NN_k(x_i, real),
N real and M fake points,

    density  = 1/(kM) Σ_j Σ_i 1[ |y_j − x_i| ≤ r_i ]                   may exceed 1
    coverage = 1/N    Σ_i 1[ some j has |y_j − x_i| ≤ r_i ]

When both sets have one continuous law, whatever it is, E density = 1 and

    E coverage = 1 − Π_{s=1}^{k} (N − s) / (N + M − s),

so k is chosen to make the second near 0.95: `expected_coverage`. NOTE: the authors' code has open balls, of no
consequence for continuous laws; here they are closed, as in precision and recall.

Intervals hold the balls fixed and resample the fake points (density) or the real ones (coverage).

Reliable Fidelity and Diversity Metrics for Generative Models (Naeem et al., 2020), sec. 3,
https://arxiv.org/abs/2002.09797
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from reference_models.evaluation.bootstrap import Interval, bootstrap_mean
from reference_models.evaluation.sets import blocks, kth_neighbour_distance, pairwise_distance, require_two_sets

__all__ = [
    "DensityCoverage",
    "DensityCoverageIntervals",
    "density_coverage",
    "density_coverage_intervals",
    "expected_coverage",
]


@dataclass(frozen=True)
class DensityCoverage:
    """Density, not negative, about 1 at best; coverage in [0, 1]."""

    density: float
    coverage: float


@dataclass(frozen=True)
class DensityCoverageIntervals:
    """The same with their intervals."""

    density: Interval
    coverage: Interval


def _per_point(real: Tensor, fake: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Balls a fake point is in over k, shape (M,), and whether a real point's ball holds a fake one, shape (N,)."""
    require_two_sets(real, fake, names=("real", "fake"))
    radius = kth_neighbour_distance(real, k)
    density, covered = [], torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for rows in blocks(len(fake), len(real), fake.device):
        inside = pairwise_distance(fake[rows], real) <= radius  # (rows, N)
        density.append(inside.sum(dim=1).double() / k)
        covered |= inside.any(dim=0)
    return torch.cat(density), covered.double()


def density_coverage(real: Tensor, fake: Tensor, *, k: int = 5) -> DensityCoverage:
    """Density and coverage of fake features (M, F) against real ones (N, F); the paper takes k = 5.

    Raises ValueError for features that cannot be compared and for k outside 1..N − 1.
    """
    density, covered = _per_point(real, fake, k)
    return DensityCoverage(float(density.mean()), float(covered.mean()))


def density_coverage_intervals(
    real: Tensor,
    fake: Tensor,
    *,
    k: int = 5,
    resamples: int = 1000,
    level: float = 0.95,
    generator: Generator | None = None,
) -> DensityCoverageIntervals:
    """The same with percentile intervals, given the balls."""
    density, covered = _per_point(real, fake, k)
    return DensityCoverageIntervals(
        bootstrap_mean(density, resamples=resamples, level=level, generator=generator),
        bootstrap_mean(covered, resamples=resamples, level=level, generator=generator),
    )


def expected_coverage(num_real: int, num_fake: int, k: int) -> float:
    """The mean coverage when N real and M fake points have the same continuous law: what a perfect model gets."""
    if not 1 <= k < num_real or num_fake < 1:
        raise ValueError(f"needs 1 <= k < num_real and num_fake >= 1, got {k}, {num_real}, {num_fake}")
    return 1 - math.prod((num_real - s) / (num_real + num_fake - s) for s in range(1, k + 1))
