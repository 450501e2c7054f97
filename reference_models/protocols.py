"""What families have in common, as structural types: nobody inherits from them, a model fits or it does not.

`x` has shape (*B, *event), where the batch shape B is () or (N,). Log-probabilities are in nats, one per example,
summed over the event. Conditional models take the condition as a keyword: `log_prob(x, condition=y)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Generator, Tensor


@dataclass(frozen=True)
class Elbo:
    """A lower bound of log p(x) and its parts, each of shape (*B,), in nats.

    value = reconstruction − kl, the bound; reconstruction = E_q log p(x|z); kl = KL(q(z|x) ‖ p(z)), exact or estimated.
    """

    value: Tensor
    reconstruction: Tensor
    kl: Tensor


@runtime_checkable
class Implicit(Protocol):
    """Something one can draw from, no more: a GAN's generator."""

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """Draws n examples, shape (n, *event)."""
        ...


@runtime_checkable
class Density(Implicit, Protocol):
    """A normalised density (or mass) that can be evaluated and drawn from."""

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats: (*B, *event) to (*B,)."""
        ...


@runtime_checkable
class LatentVariableModel(Implicit, Protocol):
    """A model whose log p(x) is only bounded from below."""

    def elbo(self, x: Tensor, *, generator: Generator | None = None) -> Elbo:
        """The evidence lower bound of each example, with its parts."""
        ...


@runtime_checkable
class Flow(Protocol):
    """An invertible map with tractable Jacobian; `forward` goes from data to noise."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x to (z, log|det ∂z/∂x|), the second of shape (*B,)."""
        ...

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z to (x, log|det ∂x/∂z|), the second of shape (*B,)."""
        ...


@runtime_checkable
class Velocity(Protocol):
    """A vector field v(x, t) on data space, t in [0, 1] of shape (*B,) or (); `y` is an optional class label."""

    def __call__(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """The field at x and t, shaped as x."""
        ...
