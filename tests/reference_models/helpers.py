"""What the tests of several families need: weights away from initialisation, Jacobians, all states, error bars."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


def perturb(module: Model, scale: float = 0.2) -> Model:
    """Moves every parameter away from its initialisation, which hides errors of sign and mask; returns the module."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return module


def numpy(x: Tensor) -> np.ndarray:
    """For SciPy and friends, from whatever device."""
    return x.detach().cpu().numpy()


def jacobian(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """∂f/∂x of one example as a matrix, (outputs, inputs), by autograd."""
    matrix = torch.autograd.functional.jacobian(f, x)
    return matrix.reshape(-1, x.numel())


def log_abs_det(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """log|det ∂f/∂x| of each example of x, (N, *event), by autograd and an LU decomposition: shape (N,)."""
    return torch.stack([torch.linalg.slogdet(jacobian(f, one))[1] for one in x])


def binary_states(n: int) -> Tensor:
    """All 2ⁿ binary vectors, (2ⁿ, n), in counting order."""
    return torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * n).reshape(-1, n)


def close(actual: Tensor, expected: Tensor | float, atol: float = 1e-9) -> bool:
    """Same shape and nowhere further apart than `atol`; NaN is not close. A number stands for any shape."""
    expected = torch.as_tensor(expected, dtype=actual.dtype, device=actual.device)
    if expected.ndim and actual.shape != expected.shape:
        return False
    return bool(((actual - expected).abs() <= atol).all())


def standard_errors(draws: Tensor, expected: Tensor | float) -> float:
    """How many standard errors the mean over the first dimension lies from what is expected, at worst.

    Under 5 by chance alone but for 6e-7 of all seeds, for each number compared.
    """
    draws = draws.detach()
    error = draws.std(0) / len(draws) ** 0.5
    return float(((draws.mean(0) - expected).abs() / error).max())
