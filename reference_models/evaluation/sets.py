"""What the metrics on sets of features share: the checks at the door, distances, the k-th neighbour."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["blocks", "kth_neighbour_distance", "pairwise_distance", "require_features", "require_two_sets"]

_PAIRS_AT_ONCE = 2**24  # bounds the memory of one block of distances: 128 MiB of float64


def require_features(name: str, features: Tensor, minimum: int = 2) -> None:
    """Refuse anything but finite floating features of shape (N, F), N >= minimum."""
    if features.ndim != 2 or features.shape[1] == 0 or not features.is_floating_point():
        raise ValueError(f"{name} must be floats of shape (N, F), got {features.dtype} {tuple(features.shape)}")
    if len(features) < minimum:
        raise ValueError(f"{name} must hold at least {minimum} examples, got {len(features)}")
    if not bool(features.isfinite().all()):
        raise ValueError(f"{name} must be finite, got {int((~features.isfinite()).sum())} values that are not")


def require_two_sets(
    a: Tensor, b: Tensor, minimum: int = 2, names: tuple[str, str] = ("features_a", "features_b")
) -> None:
    """Refuse two sets of features that cannot be compared; shapes (N, F) and (M, F)."""
    require_features(names[0], a, minimum)
    require_features(names[1], b, minimum)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"both sets need the same number of features, got {a.shape[1]} and {b.shape[1]}")


def pairwise_distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances between the rows of a (N, F) and of b (M, F): shape (N, M).

    From differences, not from |a|² + |b|² − 2ab: equal rows are at distance zero exactly.
    """
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def blocks(rows: int, columns: int, device: torch.device) -> Iterator[Tensor]:
    """Row numbers in blocks, so that a block of a (rows, columns) matrix of distances fits in memory."""
    yield from torch.arange(rows, device=device).split(max(1, _PAIRS_AT_ONCE // max(1, columns)))


def kth_neighbour_distance(x: Tensor, k: int) -> Tensor:
    """From each row of x (N, F) to its k-th nearest *other* row: shape (N,). Raises ValueError unless 0 < k < N."""
    if not 1 <= k < len(x):
        raise ValueError(f"k must lie between 1 and {len(x) - 1}, one less than the number of examples, got {k}")
    kth = []
    for rows in blocks(len(x), len(x), x.device):
        distance = pairwise_distance(x[rows], x)
        distance[torch.arange(len(rows), device=x.device), rows] = torch.inf  # nobody is their own neighbour
        kth.append(distance.kthvalue(k, dim=1).values)
    return torch.cat(kth)
