"""Velocities whose every consequence is known, as modules."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from reference_models.flow_matching.exact import ExactVelocity
from reference_models.flow_matching.paths import GaussianPath, Linear, Trigonometric, VariancePreserving
from reference_models.parts.distributions import GaussianMixture

PATHS = [Linear(), Linear(0.1), Trigonometric(), VariancePreserving(), VariancePreserving(12.0, 12.0)]
names = [repr(path) for path in PATHS]


class Known(nn.Module):
    """A function of (x, t) or (x, t, y) as a module that remembers what it was called with."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function
        self.calls: list[tuple[Tensor, ...]] = []
        self.anchor = nn.Parameter(torch.zeros(()))  # tells samplers device and dtype

    def forward(self, x: Tensor, t: Tensor, *y: Tensor) -> Tensor:
        self.calls.append((x, t, *y))
        return self.function(x, t, *y) + 0 * self.anchor


def mixture() -> GaussianMixture:
    """Three Gaussians in the plane, none of them round, unequal weights."""
    factors = torch.tensor([[[0.6, 0.0], [0.3, 0.4]], [[0.5, 0.0], [-0.2, 0.5]], [[0.4, 0.0], [0.1, 0.8]]])
    means = torch.tensor([[1.5, 0.5], [-1.0, 1.0], [0.2, -1.2]])
    return GaussianMixture(torch.tensor([0.5, 0.3, 0.2]), means, factors @ factors.mT)


def exact(path: GaussianPath | None = None) -> Known:
    """The velocity of the mixture."""
    return Known(ExactVelocity(mixture(), path))


def gaussian_velocity(m: float, s: float) -> Known:
    """Of the straight path to N(m, s²), by hand: m + (ts² − (1 − t)) / (t²s² + (1 − t)²) (x − tm)."""
    return Known(lambda x, t: m + (t * s**2 - (1 - t)) / (t**2 * s**2 + (1 - t) ** 2) * (x - t * m))
