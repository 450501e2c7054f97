"""Diffusion in continuous time: three linear stochastic differential equations that turn data into noise.

    dx = f(t) x dt + g(t) dw,   t from 0 (data) to 1,      q(x_t | x_0) = N(a(t) x_0, σ(t)² I)

    VP       f = −½ β(t),  g² = β(t)                          a = e^{−½B(t)},  σ² = 1 − e^{−B(t)}        (eq. 11, 29)
    sub-VP   f = −½ β(t),  g² = β(t) (1 − e^{−2B(t)})         a = e^{−½B(t)},  σ² = (1 − e^{−B(t)})²     (eq. 12, 29)
    VE       f = 0,        g² = dν²/dt,  ν = ν_0 (ν_1/ν_0)^t   a = 1,           σ² = ν(t)² − ν_0²         (eq. 9, 29)

with β(t) = β_0 + t (β_1 − β_0) and B(t) = ∫_0^t β. Time runs back by (eq. 6, Anderson 1982)

    dx = [f(t) x − g(t)² ∇ log p_t(x)] dt + g(t) dw̄

and, with the same marginals p_t, by the ordinary differential equation (eq. 13)

    dx = [f(t) x − ½ g(t)² ∇ log p_t(x)] dt

"Score-Based Generative Modeling through Stochastic Differential Equations" (Song, Sohl-Dickstein, Kingma, Kumar, Ermon,
Poole, 2021), https://arxiv.org/abs/2011.13456

NOTE: appendix C of the paper and its code leave ν_0² in VE's σ², as if noise ν_0 were there from the start, and draw
x_1 from N(0, ν_1² I); here p_0 is the data, and x_1 has the variance that the equation gives it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_models.diffusion.gaussian_diffusion import Gaussian
from reference_models.parts.require import at_least, positive
from reference_models.parts.shapes import expand_right


class SDE(ABC):
    """dx = f(t) x dt + g(t) dw; times are tensors of any shape with values in [0, 1]."""

    @property
    @abstractmethod
    def prior_std(self) -> float:
        """Standard deviation of the law sampling starts from, N(0, prior_std² I)."""

    @abstractmethod
    def drift_rate(self, t: Tensor) -> Tensor:
        """f(t), of t's shape."""

    @abstractmethod
    def diffusion(self, t: Tensor) -> Tensor:
        """g(t), of t's shape."""

    @abstractmethod
    def a(self, t: Tensor) -> Tensor:
        """a(t): what is left of the signal, of t's shape."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """σ(t): the standard deviation of the noise in x_t, of t's shape."""

    def marginal(self, x_0: Tensor, t: Tensor) -> Gaussian:
        """q(x_t | x_0), x_0 (*B, *event), t (*B,) or ()."""
        return Gaussian(expand_right(self.a(t), x_0) * x_0, expand_right(self.sigma(t).square(), x_0))

    def transition(self, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """r and q of q(x_t | x_s) = N(r x_s, q I), exact, of t's shape. Raises ValueError unless s < t."""
        if not bool((s < t).all()):
            raise ValueError(f"a transition goes from s to a later t, got s = {s.tolist()} and t = {t.tolist()}")
        r = self.a(t) / self.a(s)
        return r, self.sigma(t).square() - r.square() * self.sigma(s).square()

    def drift(self, x: Tensor, t: Tensor) -> Tensor:
        """f(t) x, x (*B, *event), t (*B,) or ()."""
        return expand_right(self.drift_rate(t), x) * x

    def reverse_drift(self, x: Tensor, t: Tensor, score: Tensor) -> Tensor:
        """f(t) x − g(t)² score: the drift of the reverse SDE, to be followed with negative dt."""
        return self.drift(x, t) - expand_right(self.diffusion(t).square(), x) * score

    def flow_drift(self, x: Tensor, t: Tensor, score: Tensor) -> Tensor:
        """f(t) x − ½ g(t)² score: the velocity of the probability flow, in either direction of time."""
        return self.drift(x, t) - 0.5 * expand_right(self.diffusion(t).square(), x) * score


@dataclass(frozen=True)
class VP(SDE):
    """Variance preserving: data of variance one keep it. Raises ValueError unless 0 < beta_0 ≤ beta_1."""

    beta_0: float = 0.1  # Song et al., appendix C: the limit of DDPM's linear schedule
    beta_1: float = 20.0

    def __post_init__(self) -> None:
        positive("beta_0", self.beta_0)
        at_least("beta_1", self.beta_1, self.beta_0)

    @property
    def prior_std(self) -> float:
        return 1.0

    def beta(self, t: Tensor) -> Tensor:
        """β(t)."""
        return self.beta_0 + t * (self.beta_1 - self.beta_0)

    def integral(self, t: Tensor) -> Tensor:
        """B(t) = ∫_0^t β."""
        return self.beta_0 * t + 0.5 * t.square() * (self.beta_1 - self.beta_0)

    def drift_rate(self, t: Tensor) -> Tensor:
        return -0.5 * self.beta(t)

    def diffusion(self, t: Tensor) -> Tensor:
        return self.beta(t).sqrt()

    def a(self, t: Tensor) -> Tensor:
        return torch.exp(-0.5 * self.integral(t))

    def sigma(self, t: Tensor) -> Tensor:
        return (-torch.expm1(-self.integral(t))).sqrt()


@dataclass(frozen=True)
class SubVP(VP):
    """VP with less noise at every t, which the paper finds better for likelihoods."""

    def diffusion(self, t: Tensor) -> Tensor:
        return (-self.beta(t) * torch.expm1(-2.0 * self.integral(t))).sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        return -torch.expm1(-self.integral(t))


@dataclass(frozen=True)
class VE(SDE):
    """Variance exploding: noise is added until it drowns the data. Raises ValueError unless 0 < nu_0 < nu_1."""

    nu_0: float = 0.01  # Song et al., appendix C, for images in [0, 1]; nu_1 near the largest distance of two of them
    nu_1: float = 50.0

    def __post_init__(self) -> None:
        positive("nu_0", self.nu_0)
        if not self.nu_1 > self.nu_0:
            raise ValueError(f"nu_1 must exceed nu_0, got {self.nu_1} and {self.nu_0}")

    @property
    def prior_std(self) -> float:
        return math.sqrt(self.nu_1**2 - self.nu_0**2)

    @property
    def log_ratio(self) -> float:
        """log ν_1/ν_0."""
        return math.log(self.nu_1 / self.nu_0)

    def drift_rate(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def diffusion(self, t: Tensor) -> Tensor:
        return self.nu_0 * torch.exp(t * self.log_ratio) * math.sqrt(2.0 * self.log_ratio)

    def a(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.nu_0 * torch.expm1(2.0 * t * self.log_ratio).sqrt()
