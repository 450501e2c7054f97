"""How good samples are, judged by a number: the number itself is judged here, on sets whose right value is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.student import contents
from autograder.vocabulary.numbers import assert_number
from autograder.vocabulary.tensors import as_double

ACCEPTED_FRECHET = 1e-6  # of 1 plus both traces: right forms differ by 6e-8 of that on singular covariances


def assert_frechet(
    distance: Callable[..., Any],
    mean_1: Tensor,
    cov_1: Tensor,
    mean_2: Tensor,
    cov_2: Tensor,
    *,
    tolerance: float = ACCEPTED_FRECHET,
    asked: str = "",
) -> None:
    """`distance(mean_1, cov_1, mean_2, cov_2)` is ‖Δ‖² + tr(C₁ + C₂ − 2 (C₁C₂)^½), real, in either order.

    Covariances that commute hide an element-wise root; covariances without full rank show a root that is complex.

    Args:
        mean_1, cov_1, mean_2, cov_2: (D,) and (D, D), float64, the covariances symmetric without negative eigenvalues.
        tolerance: relative to 1 plus both traces.
        asked: the input in words, "of two Gaussians whose covariances do not commute".
    """
    m_1, c_1, m_2, c_2 = (as_double(q) for q in (mean_1, cov_1, mean_2, cov_2))
    apart = float((m_1 - m_2).square().sum())
    traces = float(c_1.trace() + c_2.trace())
    cross = float(torch.linalg.svdvals(_root(c_1) @ _root(c_2)).sum())  # tr (C₁C₂)^½
    right = apart + traces - 2 * cross
    wrong = {
        "this is with the root of each entry, not of the matrix": apart
        + traces
        - 2 * float((c_1 @ c_2).clamp(min=0).sqrt().trace()),
        "the factor 2 before the root is missing": apart + traces - cross,
        "‖Δ‖ is not squared": apart**0.5 + traces - 2 * cross,
        "the distance of the means is left out": traces - 2 * cross,
        "this is the square root of the distance": max(right, 0.0) ** 0.5,
    }
    accepted = tolerance * (1 + traces)
    wrong = {sentence: value for sentence, value in wrong.items() if abs(value - right) > 100 * accepted}
    for first, second, order in (((m_1, c_1), (m_2, c_2), ""), ((m_2, c_2), (m_1, c_1), ", exchanged")):
        value = distance(*first, *second)
        what = "the Fréchet distance"
        assert_number(value, right, what, tolerance=accepted, asked=f"{asked}{order}", alternatives=wrong)


def _root(cov: Tensor) -> Tensor:
    """The symmetric root of a covariance. Raises AuthorError where it is none."""
    values, vectors = torch.linalg.eigh(cov)
    size = 1 + float(values.abs().max())
    if not torch.allclose(cov, cov.T) or float(values.min()) < -1e-9 * size:
        raise AuthorError("a covariance is symmetric and has no negative eigenvalues")
    root: Tensor = (vectors * values.clamp(min=0).sqrt()).matmul(vectors.T)
    return root


def assert_precision_recall(
    function: Callable[..., Any], real: Tensor, fake: Tensor, k: int, *, asked: str = ""
) -> None:
    """`function(real, fake, k)` is (precision, recall) by the balls to the k-th nearest other point.

    A fake counts for precision if it lies within the distance of some real point to that point's k-th nearest other
    real; recall is the same with the roles exchanged.

    Args:
        real, fake: (N, D) and (M, D), float64. No distance may tie with a radius, and duplicates are for few rows only.
        k: at least 1, fewer than the points of either set.
        asked: the input in words.
    """
    x, y = as_double(real), as_double(fake)
    if not 1 <= k < min(len(x), len(y)):
        raise AuthorError(f"k lies between 1 and the number of other points, got {k} for {len(x)} and {len(y)}")
    sets = ((y, x), (x, y))  # precision: fakes in balls around reals; recall: the reverse
    right = [_inside(points, centres, _radius(centres, k)) for points, centres in sets]
    for points, centres in sets:
        _assert_no_tie(points, centres, _radius(centres, k))
    found = contents(function(real, fake, k))
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise Wrong("precision and recall should come as a tuple of two numbers")
    wrong = {
        "precision and recall are exchanged": right[::-1],
        "these are the values where each point is its own nearest neighbour": [
            _inside(points, centres, _radius(centres, k - 1)) for points, centres in sets
        ],
        "these are the values with radii that reach to the k-th nearest point of the other set": [
            _inside(points, centres, _distances(centres, points).sort(1).values[:, k - 1]) for points, centres in sets
        ],
    }
    fits = [sentence for sentence, pair in wrong.items() if _is_near(found, pair)]
    for i, name in enumerate(("the precision", "the recall")):
        hints = {fits[0]: wrong[fits[0]][i]} if len(fits) == 1 else {}
        where = f"with k = {k} {asked}".strip()
        assert_number(found[i], right[i], name, tolerance=1e-6, asked=where, alternatives=hints)


def _is_near(found: Sequence[Any], pair: list[float]) -> bool:
    numbers = [q for q in found if isinstance(q, int | float | Tensor)]
    tensors = [torch.as_tensor(q) for q in numbers]
    if len(tensors) != 2 or any(q.dim() or q.is_complex() for q in tensors):
        return False
    return all(abs(float(a) - b) <= 1e-6 for a, b in zip(tensors, pair, strict=True))


def _radius(centres: Tensor, k: int) -> Tensor:
    """The distance of each centre to its k-th nearest other centre; 0 for k = 0, which is itself."""
    between = _distances(centres, centres)
    between.fill_diagonal_(-1.0)  # itself comes first, whatever else lies at distance 0
    return between.sort(1).values[:, k].clamp(min=0)


def _inside(points: Tensor, centres: Tensor, radius: Tensor) -> float:
    """The share of points that lie in the ball of some centre."""
    return float((_distances(points, centres) <= radius).any(1).double().mean())


def _assert_no_tie(points: Tensor, centres: Tensor, radius: Tensor) -> None:
    tie = (_distances(points, centres) - radius).abs() <= 1e-9 * (1 + radius)
    if bool((tie & (radius > 0)).any()):
        raise AuthorError("a distance ties with a radius: whether the point counts is not settled")


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return (a.unsqueeze(1) - b.unsqueeze(0)).square().sum(-1).sqrt()
