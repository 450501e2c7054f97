"""Laws of flow probes, exactly, and weights with which mistakes show."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from autograder.errors import AuthorError


def affine_flow_law(A: Tensor, b: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
    """Mean (n,) and covariance (n, n) of x when A x + b ~ N(0, I): the law of `AffineFlow(A, b)`, flattened."""
    offset = torch.as_tensor(b, dtype=A.dtype).expand(A.shape[0])
    mean: Tensor = -torch.linalg.solve(A, offset)
    return mean, torch.linalg.inv(A.T @ A)


def invertible_matrix(n: int, generator: Generator | None = None) -> Tensor:
    """A dense (n, n) matrix, float64, with singular values between ½ and 2 and a determinant of either sign.

    Two of them do not commute, their determinant is not ±1, and they are no rotation.
    """
    drawn = torch.randn(2, n, n, generator=generator, dtype=torch.float64)
    left, right = torch.linalg.qr(drawn)[0]
    sizes = 0.5 * 4 ** torch.rand(n, generator=generator, dtype=torch.float64)
    sizes[0] *= torch.randint(0, 2, (), generator=generator) * 2 - 1  # two Qs of one size have determinants of one sign
    matrix: Tensor = left @ torch.diag(sizes) @ right.T
    return matrix


def dense_pair(n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights (A, B, c, d) for `AffinePair` on samples of n entries, float64, none of them near 0."""
    A, B = (_away_from_zero((n, n), generator) / n**0.5 for _ in range(2))
    c, d = (_away_from_zero((n,), generator) for _ in range(2))
    return A, B, c, d


def triangular_pair(n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights (L, K, c, d) for `TriangularPair` on vectors of n entries, float64: no zero below the diagonals."""
    L, K = (_away_from_zero((n, n), generator).tril(-1) for _ in range(2))
    c, d = (_away_from_zero((n,), generator) for _ in range(2))
    return L, K, c, d


def exponential_bias(weight: Tensor) -> Tensor:
    """The c with which ln p(y) = weight · y + c is a density on the unit cube: `Linear(weight, c)`. No weight is 0."""
    if bool((weight == 0).any()):
        raise AuthorError("no weight may be 0")
    return -(torch.expm1(weight) / weight).log().sum()


def cell_log_probability(x: Tensor, weight: Tensor, n_levels: int) -> Tensor:
    """ln P(x) under that density, (B,): its integral over the cell [x, x + 1) / n_levels of each row of x (B, D)."""
    low = x.to(weight.dtype) / n_levels
    inside = (torch.expm1(weight / n_levels) / weight).log()
    return exponential_bias(weight) + (weight * low + inside).sum(1)


def cell_mean_log_density(x: Tensor, weight: Tensor, n_levels: int) -> Tensor:
    """E ln p(y) under that density, (B,), for y uniform on the cell [x, x + 1) / n_levels of each row of x (B, D)."""
    return exponential_bias(weight) + (weight * (x.to(weight.dtype) + 0.5) / n_levels).sum(1)


def _away_from_zero(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    """Sizes between 0.3 and 1 of either sign."""
    sign = torch.randint(0, 2, shape, generator=generator, dtype=torch.float64) * 2 - 1
    return sign * (0.3 + 0.7 * torch.rand(shape, generator=generator, dtype=torch.float64))
