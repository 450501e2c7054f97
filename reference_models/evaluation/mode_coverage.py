r"""Mode coverage: do samples fall on the modes of a known mixture, and on all of them?

Every sample belongs to the component that is nearest in units of that component's spread,

    k(x) = argmin_k d_k(x),   d_k(x)² = (x − μ_k)' Σ_k⁻¹ (x − μ_k),

and lies on it when d_k(x) ≤ 4. A component's share is the part of all samples that lie on it. It is covered when its
share reaches a tenth of its weight: a model that drops a mode leaves strays there, which a rule of "at least one
sample" would count.

NOTE: the literature counts with 3 standard deviations and 1 sample; both are arguments here. In D dimensions the
target itself has within_4_sigma = P(χ²_D ≤ 16) for modes far apart: 0.99966 for D = 2.

Neither sees a mode on which all samples lie on a line: `narrowest_mode` does.

VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning (Srivastava et al., 2017),
experiments on synthetic data, https://arxiv.org/abs/1705.07761
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from reference_models.evaluation.bootstrap import Interval, bootstrap
from reference_models.evaluation.sets import require_features
from reference_models.parts.distributions import GaussianMixture

__all__ = ["ModeCoverage", "ModeCoverageIntervals", "mode_coverage", "mode_coverage_intervals", "narrowest_mode"]


@dataclass(frozen=True)
class ModeCoverage:
    """The part of samples on any mode; how many modes are covered; the least share of a mode, of all samples."""

    within_4_sigma: float
    modes_covered: int
    min_share: float


@dataclass(frozen=True)
class ModeCoverageIntervals:
    """The numbers of `ModeCoverage` with their intervals; the least share, a minimum, is biased downwards."""

    within_4_sigma: Interval
    modes_covered: Interval
    min_share: Interval


def _on_modes(samples: Tensor, mixture: GaussianMixture, sigmas: float) -> tuple[Tensor, Tensor]:
    """1 where a sample lies on a mode, (N, K), at most once a row; and L_k⁻¹(x − μ_k), Σ_k = L_k L_k', (N, K, D)."""
    require_features("samples", samples, minimum=1)
    means, covariances = mixture.means.to(samples), mixture.covariances.to(samples)  # (K, D), (K, D, D)
    if samples.shape[1] != means.shape[1]:
        raise ValueError(f"samples must have the mixture's {means.shape[1]} dimensions, got {samples.shape[1]}")
    if not sigmas > 0:
        raise ValueError(f"sigmas must be positive, got {sigmas}")
    offset = samples[:, None, :] - means  # (N, K, D)
    eye = torch.eye(means.shape[1]).to(samples).expand_as(covariances)
    inverse = torch.linalg.solve_triangular(torch.linalg.cholesky(covariances), eye, upper=False)  # L_k⁻¹
    scaled = torch.einsum("kij,nkj->nki", inverse, offset)
    distance, nearest = scaled.norm(dim=-1).min(dim=1)  # (N,)
    on = torch.nn.functional.one_hot(nearest, len(means)).to(samples.dtype)
    return on * (distance <= sigmas).to(samples.dtype)[:, None], scaled


def mode_coverage(
    samples: Tensor, mixture: GaussianMixture, *, sigmas: float = 4.0, least: float = 0.1
) -> ModeCoverage:
    """Coverage of the mixture's K modes by samples of shape (N, D).

    sigmas: how far, in standard deviations, a sample may lie from its mode; least: a mode is covered from this part
        of its weight on.
    Raises ValueError for samples that do not fit the mixture, are not finite or are none.
    """
    shares = _on_modes(samples, mixture, sigmas)[0].mean(dim=0)  # (K,)
    covered = shares >= least * mixture.weights.to(shares)
    return ModeCoverage(float(shares.sum()), int(covered.sum()), float(shares.min()))


def narrowest_mode(samples: Tensor, mixture: GaussianMixture, *, sigmas: float = 4.0) -> float:
    """The least standard deviation, over modes and directions, of the samples (N, D) on a mode, in units of the mode's.

    About 1 for samples of the mixture, 0 where those of one mode lie on a line or are fewer than D + 1.
    Raises ValueError as `mode_coverage` does.
    """
    on, scaled = _on_modes(samples, mixture, sigmas)
    least = float("inf")
    for members, x in zip(on.bool().unbind(1), scaled.unbind(1), strict=True):
        if int(members.sum()) <= samples.shape[1]:
            return 0.0
        smallest = torch.linalg.eigvalsh(torch.cov(x[members].mT).reshape(x.shape[1], x.shape[1]))[0]
        least = min(least, float(smallest.clamp(min=0).sqrt()))
    return least


def mode_coverage_intervals(
    samples: Tensor,
    mixture: GaussianMixture,
    *,
    sigmas: float = 4.0,
    least: float = 0.1,
    resamples: int = 1000,
    level: float = 0.95,
    generator: Generator | None = None,
) -> ModeCoverageIntervals:
    """The same, each number with its percentile interval over resampled samples."""
    on, _ = _on_modes(samples, mixture, sigmas)
    weights = mixture.weights.to(on)

    def interval(of_shares: Callable[[Tensor], Tensor]) -> Interval:
        return bootstrap(
            lambda counts: of_shares(counts @ on / counts.sum()),
            (len(on),),
            like=on,
            resamples=resamples,
            level=level,
            generator=generator,
        )

    return ModeCoverageIntervals(
        within_4_sigma=interval(lambda shares: shares.sum()),
        modes_covered=interval(lambda shares: (shares >= least * weights).sum()),
        min_share=interval(lambda shares: shares.min()),
    )
