"""What a denoising network may predict: the noise, the clean data, the velocity or the score; one gives all.

With x_t = a x_0 + σ ε, where a² + σ² = 1 for v:

    ε:      x_0 = (x_t − σ ε)/a
    x_0:    ε = (x_t − a x_0)/σ
    v:      v = a ε − σ x_0,   x_0 = a x_t − σ v,   ε = σ x_t + a v           (appendix D), of use where a or σ vanishes
    score:  ∇ log q(x_t | x_0) = −ε/σ

The squared errors differ by weights only:  |Δx_0|² = |Δε|²/SNR = |Δv|²/(1 + SNR),  SNR = a²/σ²  (section 4).

"Progressive Distillation for Fast Sampling of Diffusion Models" (Salimans, Ho, 2022), section 4 and appendix D,
https://arxiv.org/abs/2202.00512
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from reference_models.parts.require import one_of

Kind = Literal["epsilon", "x0", "v", "score"]
KINDS: tuple[Kind, ...] = ("epsilon", "x0", "v", "score")


@dataclass(frozen=True)
class Prediction:
    """A guess about x_t in all its forms; tensors of x_t's shape, a and sigma broadcastable against them.

    The invariant x_t = a x_0 + σ ε holds up to rounding.
    """

    x_t: Tensor
    a: Tensor
    sigma: Tensor
    x_0: Tensor
    epsilon: Tensor

    @property
    def v(self) -> Tensor:
        """a ε − σ x_0."""
        return self.a * self.epsilon - self.sigma * self.x_0

    @property
    def score(self) -> Tensor:
        """−ε/σ, the guess of ∇ log q(x_t)."""
        return -self.epsilon / self.sigma

    def clipped(self, limit: float) -> Prediction:
        """The guess with x_0 forced into [−limit, limit] and ε made to agree with it."""
        return from_x0(self.x_t, self.a, self.sigma, self.x_0.clamp(-limit, limit))


def from_epsilon(x_t: Tensor, a: Tensor, sigma: Tensor, epsilon: Tensor) -> Prediction:
    """The prediction whose noise is given."""
    return Prediction(x_t, a, sigma, (x_t - sigma * epsilon) / a, epsilon)


def from_x0(x_t: Tensor, a: Tensor, sigma: Tensor, x_0: Tensor) -> Prediction:
    """The prediction whose clean data are given."""
    return Prediction(x_t, a, sigma, x_0, (x_t - a * x_0) / sigma)


def from_v(x_t: Tensor, a: Tensor, sigma: Tensor, v: Tensor) -> Prediction:
    """The prediction whose velocity is given; a² + σ² = 1."""
    return Prediction(x_t, a, sigma, a * x_t - sigma * v, sigma * x_t + a * v)


def from_score(x_t: Tensor, a: Tensor, sigma: Tensor, score: Tensor) -> Prediction:
    """The prediction whose score is given."""
    return from_epsilon(x_t, a, sigma, -sigma * score)


_READERS = {"epsilon": from_epsilon, "x0": from_x0, "v": from_v, "score": from_score}


def read(kind: Kind, output: Tensor, x_t: Tensor, a: Tensor, sigma: Tensor) -> Prediction:
    """A network's output, of x_t's shape, understood as `kind`. Raises ValueError for an unknown kind."""
    one_of("parametrisation", kind, KINDS)
    return _READERS[kind](x_t, a, sigma, output)


def target(kind: Kind, x_0: Tensor, epsilon: Tensor, a: Tensor, sigma: Tensor) -> Tensor:
    """What a network of this kind should output at x_t = a x_0 + σ ε, of x_0's shape."""
    one_of("parametrisation", kind, KINDS)
    truth = Prediction(a * x_0 + sigma * epsilon, a, sigma, x_0, epsilon)
    return {"epsilon": truth.epsilon, "x0": truth.x_0, "v": truth.v, "score": truth.score}[kind]
