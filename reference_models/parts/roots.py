"""Roots of increasing functions, for inverses that have no formula; gradients by the implicit function theorem.

If g(x; θ) = 0 defines x(θ), then ∂x/∂θ = -(∂g/∂θ) / (∂g/∂x): one Newton step from the root, its slope held fixed,
has this derivative and corrects the last bits of the bisection.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ValueAndSlope = Callable[[Tensor], tuple[Tensor, Tensor]]


def increasing_root(g: ValueAndSlope, low: Tensor, high: Tensor, *, halvings: int = 60) -> Tensor:
    """x with g(x) = 0 between `low` and `high`, elementwise.

    g: increasing; gives its value and its slope (positive), each shaped as x.
    low, high: bounds of one shape, g(low) <= 0 <= g(high).
    The result carries first derivatives with respect to whatever g depends on.
    """
    with torch.no_grad():
        for _ in range(halvings):
            middle = (low + high) / 2
            above = g(middle)[0] > 0
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    root = ((low + high) / 2).detach()
    value, slope = g(root)
    return root - value / slope.detach()
