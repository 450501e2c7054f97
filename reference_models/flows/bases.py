"""Base distributions of flows: independent dimensions, log_prob and sample in closed form.

"NICE: Non-linear Independent Components Estimation" (Dinh, Krueger, Bengio, 2015), section 3.4,
https://arxiv.org/abs/1410.8516, has both.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import softplus

from reference_models.parts.require import ends_with
from reference_models.parts.shapes import sum_event


class Base(nn.Module, ABC):
    """A distribution of independent dimensions that flows start from, following the module's device and dtype."""

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.origin: Tensor
        self.register_buffer("origin", torch.zeros(()), persistent=False)

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """z: (*B, *event_shape); returns (*B,), nats, summed over dimensions."""

    @abstractmethod
    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """Returns (n, *event_shape)."""


class StandardNormal(Base):
    """N(0, I): log p(z) = -½ Σ (z_i² + log 2π)."""

    def log_prob(self, z: Tensor) -> Tensor:
        ends_with("z", z, self.event_shape)
        return sum_event(-0.5 * (z**2 + math.log(2 * math.pi)), len(self.event_shape))

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        shape = (n, *self.event_shape)
        return torch.randn(shape, generator=generator, device=self.origin.device, dtype=self.origin.dtype)


class StandardLogistic(Base):
    """Logistic(0, 1): log p(z) = -Σ log(1 + e^{z_i}) + log(1 + e^{-z_i}), the base of NICE, section 3.4."""

    def log_prob(self, z: Tensor) -> Tensor:
        ends_with("z", z, self.event_shape)
        return sum_event(-softplus(z) - softplus(-z), len(self.event_shape))

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        shape = (n, *self.event_shape)
        u = torch.rand(shape, generator=generator, device=self.origin.device, dtype=self.origin.dtype)
        return torch.logit(u, eps=torch.finfo(u.dtype).eps / 4)  # u = 0 stands for [0, eps / 2): its middle
