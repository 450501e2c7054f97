r"""Maximum likelihood, MAP and Bayesian averaging where all three can be written down.

A parameter θ with prior p(θ) and data X can be used in three ways to predict a new x:

    maximum likelihood   p(x | θ_ML),    θ_ML  = argmax p(X | θ)
    MAP                  p(x | θ_MAP),   θ_MAP = argmax p(X | θ) p(θ)
    averaging            p(x | X) = ∫ p(x | θ) p(θ | X) dθ,      with evidence p(X) = ∫ p(X | θ) p(θ) dθ.

Two conjugate examples. A coin: θ ~ Beta(a, b), and after h heads and t tails the posterior is Beta(a + h, b + t). A
line: weights w ~ N(0, α⁻¹ I), y = Φ w + noise of precision β; the posterior is N(m, S) with S⁻¹ = αI + βΦ'Φ and
m = βSΦ'y, MAP is ridge regression with penalty α/β, and the averaged prediction has variance 1/β + φ' S φ, wider than
any single line's, most of all where there was no data.

Averaging obeys p(X) = Π_n p(x_n | x_1..x_{n−1}): the evidence is what predictions, made in turn, multiply to.

Pattern Recognition and Machine Learning (Bishop, 2006), sec. 2.1.1, eqs. 3.28, 3.49–3.59 and 3.86,
https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_models.parts.require import has_shape, positive

__all__ = ["BetaBernoulli", "LinearRegression", "Prediction"]


@dataclass(frozen=True)
class BetaBernoulli:
    """A coin with chance θ of heads and prior Beta(a, b); immutable: `observe` returns what is known afterwards.

    heads, tails: what was seen, kept apart from the prior, for maximum likelihood looks at it alone.
    """

    a: float = 1.0
    b: float = 1.0
    heads: int = 0
    tails: int = 0

    def __post_init__(self) -> None:
        positive("a", self.a)
        positive("b", self.b)
        if self.heads < 0 or self.tails < 0:
            raise ValueError(f"heads and tails must not be negative, got {self.heads} and {self.tails}")

    def observe(self, flips: Tensor) -> BetaBernoulli:
        """After more flips, 1 for heads and 0 for tails, shape (N,). Raises ValueError for any other value."""
        if flips.ndim != 1 or not bool(((flips == 0) | (flips == 1)).all()):
            found = f"shape {tuple(flips.shape)}, values {sorted(set(flips.flatten().tolist()))[:4]}"
            raise ValueError(f"flips must be zeros and ones of shape (N,), got {found}")
        heads = int(flips.sum())
        return BetaBernoulli(self.a, self.b, self.heads + heads, self.tails + len(flips) - heads)

    @property
    def posterior(self) -> tuple[float, float]:
        """The parameters of the posterior, Beta(a + heads, b + tails)."""
        return self.a + self.heads, self.b + self.tails

    @property
    def maximum_likelihood(self) -> float:
        """heads / (heads + tails). Raises ValueError before the first flip: every θ is as likely."""
        if self.heads + self.tails == 0:
            raise ValueError("maximum likelihood needs at least one flip, got none")
        return self.heads / (self.heads + self.tails)

    @property
    def maximum_a_posteriori(self) -> float:
        """The posterior's mode (a + heads − 1) / (a + b + N − 2), N the number of flips.

        Raises ValueError unless both of its parameters are at least 1 and one exceeds it: the density is flat or has
        no greatest value.
        """
        a, b = self.posterior
        if not (a >= 1 and b >= 1 and a + b > 2):
            raise ValueError(f"the posterior Beta({a:g}, {b:g}) has no single mode")
        return (a - 1) / (a + b - 2)

    @property
    def predictive(self) -> float:
        """The chance of heads with θ averaged over the posterior: its mean."""
        a, b = self.posterior
        return a / (a + b)

    @property
    def log_evidence(self) -> float:
        """log p(X) in nats of the flips *in their order*: log B(a + heads, b + tails) − log B(a, b)."""

        def log_beta(a: float, b: float) -> float:
            return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

        return log_beta(*self.posterior) - log_beta(self.a, self.b)


@dataclass(frozen=True)
class Prediction:
    """A normal prediction of y at each input: mean and variance, shape (M,); the variance includes the noise."""

    mean: Tensor
    variance: Tensor


class LinearRegression:
    """Bayesian linear regression on features Φ (N, D), targets y (N,); prior precision α, noise precision β known."""

    def __init__(self, features: Tensor, targets: Tensor, *, alpha: float = 1.0, beta: float = 1.0) -> None:
        if features.ndim != 2 or targets.shape != features.shape[:1]:
            shapes = f"{tuple(features.shape)} and {tuple(targets.shape)}"
            raise ValueError(f"features and targets must have shapes (N, D) and (N,), got {shapes}")
        positive("alpha", alpha)
        positive("beta", beta)
        self.features, self.targets, self.alpha, self.beta = features, targets, alpha, beta
        identity = torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
        self.precision = alpha * identity + beta * features.T @ features  # S⁻¹, eq. 3.54
        self.covariance = torch.linalg.inv(self.precision)  # S
        self.mean: Tensor = beta * torch.linalg.solve(self.precision, features.T @ targets)  # m, eq. 3.53

    @property
    def maximum_likelihood(self) -> Tensor:
        """w_ML, shape (D,): least squares, and of those solutions the shortest when N < D."""
        return torch.linalg.pinv(self.features) @ self.targets

    @property
    def maximum_a_posteriori(self) -> Tensor:
        """w_MAP, shape (D,): the posterior's mean, as it is normal."""
        return self.mean

    def predict(self, features: Tensor) -> Prediction:
        """p(y | φ, X) averaged over the posterior at new features (M, D)."""
        self._require(features)
        variance = 1 / self.beta + torch.einsum("md,de,me->m", features, self.covariance, features)  # eq. 3.59
        return Prediction(features @ self.mean, variance)

    def plug_in(self, features: Tensor, weights: Tensor) -> Prediction:
        """p(y | φ, w) for one choice of weights (D,), e.g. w_ML: the same noise everywhere."""
        self._require(features)
        has_shape("weights", weights, self.mean.shape)
        mean = features @ weights
        return Prediction(mean, torch.full_like(mean, 1 / self.beta))

    @property
    def log_evidence(self) -> Tensor:
        """log p(y | Φ) in nats, a scalar (eq. 3.86)."""
        n, d = self.features.shape
        misfit = ((self.targets - self.features @ self.mean) ** 2).sum()
        energy = 0.5 * self.beta * misfit + 0.5 * self.alpha * (self.mean**2).sum()
        constants = 0.5 * (d * math.log(self.alpha) + n * math.log(self.beta) - n * math.log(2 * math.pi))
        return constants - energy - 0.5 * torch.logdet(self.precision)

    def _require(self, features: Tensor) -> None:
        if features.ndim != 2 or features.shape[1] != self.features.shape[1]:
            wanted = self.features.shape[1]
            raise ValueError(f"features must have shape (M, {wanted}), got {tuple(features.shape)}")
