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


# --- diffusion: t = 0 is data, t = T or 1 is noise; an index, long, or a time in [0, 1], of shape (*B,) or ()


@runtime_checkable
class NoiseSchedule(Protocol):
    """How much signal is left at index t of T steps; `like` lends its device, dtype and number of dimensions."""

    @property
    def steps(self) -> int:
        """T."""
        ...

    def alpha_bar(self, t: Tensor | int, like: Tensor) -> Tensor:
        """ᾱ_t, broadcastable against `like`; √ᾱ_t is the signal that is left."""
        ...

    def variance(self, t: Tensor | int, like: Tensor) -> Tensor:
        """1 − ᾱ_t, the variance of the noise."""
        ...


@runtime_checkable
class NormalLaw(Protocol):
    """N(mean, variance · I) at each pixel of a batch."""

    @property
    def mean(self) -> Tensor:
        """(*B, *event)."""
        ...

    @property
    def variance(self) -> Tensor:
        """Broadcastable against the mean."""
        ...

    def sample(self, noise: Tensor) -> Tensor:
        """mean + std · noise, noise ~ N(0, I) of the mean's shape."""
        ...


@runtime_checkable
class ForwardProcess(Protocol):
    """What noise does to data."""

    def marginal(self, x_0: Tensor, t: Tensor) -> NormalLaw:
        """q(x_t | x_0)."""
        ...


@runtime_checkable
class Parametrisation(Protocol):
    """One guess about x_t, in every form a network may output; each of x_t's shape."""

    @property
    def x_0(self) -> Tensor:
        """The clean data."""
        ...

    @property
    def epsilon(self) -> Tensor:
        """The noise."""
        ...

    @property
    def v(self) -> Tensor:
        """√ᾱ ε − √(1 − ᾱ) x_0."""
        ...

    @property
    def score(self) -> Tensor:
        """∇ log q(x_t)."""
        ...


class Diffusion(Implicit, Protocol):
    """A schedule, a forward process, a parametrisation, and `sample`, which takes a sampler.

    For type checkers only: since Python 3.12 isinstance() does not see the submodules of a torch module, as `process`.
    """

    @property
    def schedule(self) -> NoiseSchedule:
        """How much noise when."""
        ...

    @property
    def process(self) -> ForwardProcess:
        """The forward process."""
        ...

    def predict(self, x_t: Tensor, t: Tensor) -> Parametrisation:
        """What the network makes of x_t."""
        ...


@runtime_checkable
class Velocity(Protocol):
    """A vector field v(x, t) on data space, t in [0, 1] of shape (*B,) or (); `y` is an optional class label."""

    def __call__(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """The field at x and t, shaped as x."""
        ...
