"""Roots of increasing functions: SciPy finds the same, and the implicit function theorem gives the derivative."""

from __future__ import annotations

import scipy.optimize
import torch
from torch import Tensor

from reference_models.parts.roots import increasing_root
from tests.reference_models.helpers import close


def test_the_root_is_scipy_s_for_every_entry() -> None:
    aim = torch.randn(6) * 3

    def g(x: Tensor) -> tuple[Tensor, Tensor]:
        return x**3 + x - aim, 3 * x**2 + 1

    ours = increasing_root(g, torch.full((6,), -10.0), torch.full((6,), 10.0))
    theirs = [scipy.optimize.brentq(lambda x, a=float(a): x**3 + x - a, -10, 10, xtol=1e-14) for a in aim]
    assert close(ours.cpu(), torch.tensor(theirs, device="cpu"), 1e-12)


def test_the_derivative_is_that_of_the_inverse_function() -> None:
    """x³ + c x = a: ∂x/∂a = 1/(3x² + c), ∂x/∂c = -x/(3x² + c)."""
    a, c = torch.tensor([2.0, -1.0], requires_grad=True), torch.tensor(1.5, requires_grad=True)
    x = increasing_root(lambda x: (x**3 + c * x - a, 3 * x**2 + c), torch.full((2,), -9.0), torch.full((2,), 9.0))
    by_a, by_c = torch.autograd.grad(x.sum(), [a, c])
    x = x.detach()
    assert close(by_a, 1 / (3 * x**2 + 1.5), 1e-12)
    assert close(by_c, (-x / (3 * x**2 + 1.5)).sum(), 1e-12)


def test_float32_ends_at_float32_precision() -> None:
    aim = torch.tensor([0.3, 5.0], dtype=torch.float32)
    x = increasing_root(lambda x: (x + torch.tanh(x) - aim, 2 - torch.tanh(x) ** 2), aim - 1, aim + 1)
    assert x.dtype == torch.float32
    assert close(x + torch.tanh(x), aim, 1e-6)
