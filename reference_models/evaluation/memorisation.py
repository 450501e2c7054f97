r"""Memorisation test: are samples nearer to the training examples than fresh data are?

Let d(x) be the distance from x to its nearest training example. A model that has learnt the law gives samples whose
d is distributed as that of held-out data; one that recites gives smaller ones. Over n samples y and m held-out
examples x,

    U = Σ_i Σ_j 1[ d(y_i) < d(x_j) ] + ½ 1[ d(y_i) = d(x_j) ],      copying = U / nm in [0, 1],

½ for an honest model, 1 for one that recites, below ½ for one that stays away from the training examples, as an
underfitted one does. U is the Mann–Whitney statistic, so under equal laws z = (U − nm/2) / sd(U) is about standard
normal, with ties taken into account.

A model may recite in one region and err in another, and the two cancel; so the test may be taken in cells (those of
nearest centres), and z averaged over cells with the held-out share of each as its weight. NOTE: the paper's sign is
the other way round, C_T = −z.

A Non-Parametric Test to Detect Data-Copying in Generative Models (Meehan, Chaudhuri and Dasgupta, 2020),
https://arxiv.org/abs/2004.05675
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from reference_models.evaluation.bootstrap import Interval, bootstrap
from reference_models.evaluation.sets import blocks, pairwise_distance, require_two_sets
from reference_models.parts.require import at_least

__all__ = ["Memorisation", "copying_interval", "memorisation", "nearest_distance"]


@dataclass(frozen=True)
class Memorisation:
    """copying: in [0, 1], ½ for an honest model, near 1 for one that recites; the part of pairs, all cells together.

    z: how many standard deviations above ½ it lies, averaged over cells.
    p_value: the chance of so large a z for an honest model, from the normal law; with several cells, whose average
        varies less than one z, the true chance is smaller.
    exact_copies: the part of samples at distance zero from a training example.
    """

    copying: float
    z: float
    p_value: float
    exact_copies: float


def nearest_distance(points: Tensor, train: Tensor) -> Tensor:
    """From each of the points (M, F) to its nearest training example (N, F): shape (M,)."""
    nearest = [
        pairwise_distance(points[rows], train).min(dim=1).values
        for rows in blocks(len(points), len(train), points.device)
    ]
    return torch.cat(nearest)


def _nearer(samples: Tensor, held_out: Tensor) -> Tensor:
    """1 where a sample is nearer than a held-out example, ½ at a tie: distances (n,) and (m,) to shape (n, m)."""
    difference = held_out - samples[:, None]
    return 0.5 * (1 + difference.sign())


def _z(samples: Tensor, held_out: Tensor) -> Tensor:
    """(U − nm/2) / sd(U) from distances (n,) and (m,), sd(U) corrected for ties."""
    n, m = len(samples), len(held_out)
    _, ties = torch.unique(torch.cat([samples, held_out]), return_counts=True)
    total = n + m
    correction = (ties.double() ** 3 - ties).sum() / (total * (total - 1))
    variance = n * m / 12 * (total + 1 - correction)
    excess = _nearer(samples, held_out).double().sum() - n * m / 2
    return torch.where(variance > 0, excess / variance.clamp(min=1e-300).sqrt(), 0.0)


def memorisation(
    samples: Tensor, held_out: Tensor, train: Tensor, *, centres: Tensor | None = None, fewest: int = 10
) -> Memorisation:
    """Tests samples (n, F) against held-out (m, F) and training examples (N, F), as features or flattened.

    centres: shape (C, F), one a cell; everything is one cell when None.
    fewest: cells with fewer samples or held-out examples are left out.
    Raises ValueError for sets that cannot be compared and when no cell is left.
    """
    at_least("fewest", fewest, 1)
    require_two_sets(samples, train, minimum=1, names=("samples", "train"))
    require_two_sets(held_out, train, minimum=1, names=("held_out", "train"))
    of_samples, of_held_out = nearest_distance(samples, train), nearest_distance(held_out, train)
    if centres is None:
        z = float(_z(of_samples, of_held_out))
    else:
        require_two_sets(centres, train, minimum=1, names=("centres", "train"))
        cell, cell_held_out = (pairwise_distance(x, centres).argmin(dim=1) for x in (samples, held_out))
        weights, scores = [], []
        for c in range(len(centres)):
            here, here_held_out = of_samples[cell == c], of_held_out[cell_held_out == c]
            if min(len(here), len(here_held_out)) >= fewest:
                weights.append(len(here_held_out))
                scores.append(float(_z(here, here_held_out)))
        if not weights:
            raise ValueError(f"no cell has {fewest} samples and {fewest} held-out examples, got {len(centres)} cells")
        z = sum(w * s for w, s in zip(weights, scores, strict=True)) / sum(weights)
    return Memorisation(
        copying=float(_nearer(of_samples, of_held_out).mean()),
        z=z,
        p_value=0.5 * math.erfc(z / math.sqrt(2)),
        exact_copies=float((of_samples == 0).double().mean()),
    )


def copying_interval(
    samples: Tensor,
    held_out: Tensor,
    train: Tensor,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    generator: Generator | None = None,
) -> Interval:
    """The `copying` of `memorisation` with its percentile interval; samples and held-out are resampled, train stays."""
    require_two_sets(samples, train, minimum=1, names=("samples", "train"))
    require_two_sets(held_out, train, minimum=1, names=("held_out", "train"))
    nearer = _nearer(nearest_distance(samples, train), nearest_distance(held_out, train))
    return bootstrap(
        lambda a, b: a @ nearer @ b / (a.sum() * b.sum()),
        (len(samples), len(held_out)),
        like=nearer,
        resamples=resamples,
        level=level,
        generator=generator,
    )
