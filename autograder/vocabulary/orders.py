"""Positions of vectors and images, and the orders in which a model may visit them.

A position is a number in raster order (row by row, left to right): n of a vector (B, n), r·W + c of an image
(B, C, H, W), all channels of a pixel together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from autograder.errors import AuthorError, Wrong

FEATURES = 1024  # of one position

Order = Literal["raster", "column-major", "reverse raster"] | Sequence[int] | Tensor


def grid_of(shape: Sequence[int]) -> tuple[int, ...]:
    """The grid of positions of a batch of this shape: (n,) of (B, n), (H, W) of (B, C, H, W) or (B, H, W)."""
    if len(shape) == 2:
        return (shape[1],)
    if len(shape) in (3, 4):
        return tuple(shape[-2:])
    raise AuthorError(f"a batch of vectors (B, n) or images (B, C, H, W) is needed, got shape {tuple(shape)}")


def order_of(order: Order, shape: Sequence[int]) -> list[int]:
    """The positions in the order they are visited: `order[k]` is visited as number k.

    Args:
        order: "raster", "column-major", "reverse raster", or a permutation of the positions.
        shape: of the batch.
    """
    grid = grid_of(shape)
    n = math.prod(grid)
    if isinstance(order, str):
        raster = list(range(n))
        if order == "raster":
            return raster
        if order == "reverse raster":
            return raster[::-1]
        if order == "column-major":
            return torch.arange(n).reshape(grid).t().flatten().tolist() if len(grid) == 2 else raster
        raise AuthorError(f"unknown order {order!r}: use 'raster', 'column-major', 'reverse raster' or a permutation")
    visits = [int(i) for i in order]
    if sorted(visits) != list(range(n)):
        raise AuthorError(f"an order of {n} positions is a permutation of 0..{n - 1}, got {visits}")
    return visits


def allowed_pairs(order: Order, shape: Sequence[int], strict: bool) -> Tensor:
    """A boolean matrix (n, n): output position i (row) may see input position j (column)."""
    visits = torch.tensor(order_of(order, shape))
    rank = torch.empty_like(visits)
    rank[visits] = torch.arange(len(visits))
    before = rank.unsqueeze(0) < rank.unsqueeze(1)
    return before if strict else before | torch.eye(len(visits), dtype=torch.bool)


def by_position(output: Tensor, shape: Sequence[int], what: str = "the output") -> Tensor:
    """An output with one group of features a position, (B, n, features), whatever its layout.

    Accepted for images (B, C, H, W): (B, F, H, W), (B, H, W), (B, H, W, F), (B, H·W), (B, H·W, F), and
    (B, F, H·W) where F differs from H·W. Accepted for vectors (B, n): (B, n), (B, n, F), and (B, F, n) where F differs
    from n.

    Raises:
        Wrong: the output has another layout, or more than `FEATURES` features a position.
    """
    grid, batch = grid_of(shape), shape[0]
    n = math.prod(grid)
    sizes = tuple(output.shape)
    if sizes[:1] == (batch,) and output.numel() > FEATURES * batch * n:
        raise Wrong(f"{what} should have at most {FEATURES} features for every position of the input, got {sizes}")
    if sizes[:1] == (batch,) and output.numel() > 0:
        if len(grid) == 2 and len(sizes) >= 3 and sizes[-2:] == grid:
            return output.reshape(batch, -1, n).transpose(1, 2)
        if len(sizes) > len(grid) and sizes[1 : 1 + len(grid)] == grid:
            return output.reshape(batch, n, -1)
        if len(sizes) in (2, 3) and sizes[1] == n:
            return output.reshape(batch, n, -1)
        if len(sizes) == 3 and sizes[2] == n:
            return output.transpose(1, 2)
    layouts = f"({batch}, F, {grid[0]}, {grid[1]})" if len(grid) == 2 else f"({batch}, {n}) or ({batch}, {n}, F)"
    raise Wrong(f"{what} should have one output for every position of the input, shape {layouts}, got {sizes}")


def name_of(position: int, grid: Sequence[int]) -> str:
    """`pixel (row, column)` of an image, `position i` of a vector."""
    if len(grid) == 2:
        return f"pixel ({position // grid[1]}, {position % grid[1]})"
    return f"position {position}"
