"""Laws of Euler's method along velocities that are affine in x."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autograder.errors import AuthorError

Number = Tensor | float


def euler_law(mean: Number, cov: Number, n_steps: int) -> tuple[Tensor, Tensor]:
    """Mean and covariance of n Euler steps of `GaussianVelocity(mean, cov)` from N(0, I), read at the start of a step.

    With one step everything lands on the mean, with few the law is too narrow: a right sampler has this law and not
    the data's.

    Args:
        mean: a number or (D,); cov: variances (a number or (D,)), or a matrix (D, D).

    Returns:
        mean and variance, or covariance matrix, float64.
    """
    if n_steps < 1:
        raise AuthorError(f"at least one step is needed, got {n_steps}")
    m, c = (torch.as_tensor(q, dtype=torch.float64) for q in (mean, cov))
    values, vectors = torch.linalg.eigh(c) if c.dim() == 2 else (c, None)
    spread = torch.ones_like(values)  # of x along each eigenvector, as a multiple of x_0
    for t in torch.arange(n_steps, dtype=torch.float64) / n_steps:
        pull = (t * values - (1 - t)) / (t.square() * values + (1 - t).square())
        spread = spread + pull * spread / n_steps  # what is pulled is x − t · mean, whose mean stays 0
    variance = spread.square()
    return m, variance if vectors is None else vectors @ torch.diag(variance) @ vectors.T


def euler_path(velocity: Callable[[Tensor, Tensor], Any], x_0: Tensor, n_steps: int) -> tuple[Tensor, Tensor]:
    """Every point of n Euler steps from 0 to 1 along `velocity(x, t)`, t (B,), and the velocities read there.

    Returns:
        points, shape (n + 1, B, *), the first being x_0; velocities, shape (n, B, *).
    """
    points, velocities = [x_0], []
    for k in range(n_steps):
        t = torch.full((len(x_0),), k / n_steps, dtype=x_0.dtype)
        velocities.append(velocity(points[-1], t).detach())
        points.append(points[-1] + velocities[-1] / n_steps)
    return torch.stack(points), torch.stack(velocities)
