"""Gaussian paths from noise to data: the straight line is one of them, diffusion another.

Each data point x_1 is given a path of Gaussians that ends in it, a cone whose apex is x_1,

    p_t(x | x_1) = N(x; α_t x_1, σ_t² I),    x_t = α_t x_1 + σ_t x_0,  x_0 ~ N(0, I)
    u_t(x | x_1) = α̇_t x_1 + (σ̇_t/σ_t)(x − α_t x_1),    so that  dx_t/dt = α̇_t x_1 + σ̇_t x_0

with α_0 = 0, σ_0 = 1 and α_1 = 1. The path of all data is the mixture p_t(x) = E p_t(x | x_1), moved by the mean
velocity u_t(x) = E[dx_t/dt | x_t = x]. From u_t follow the expected data point, the expected noise and the score, and
back, two linear equations in two unknowns:

    x = α E[x_1|x] + σ E[x_0|x],   u = α̇ E[x_1|x] + σ̇ E[x_0|x],   ∇ log p_t(x) = −E[x_0|x] / σ

The same marginals belong to a diffusion that runs the other way, s = 1 − t, dx = f x ds + g dw, with

    f = −α̇/α,   g² = 2σ² α̇/α − 2σσ̇,   u_t(x) = −f x + ½ g² ∇ log p_t(x)

which is the probability-flow equation. Paths differ only in how they scale space and time: two of them agree where
α/σ agrees, so that a network trained on one serves another.

"Flow Matching for Generative Modeling" (Lipman, Chen, Ben-Hamu, Nickel, Le, 2023), eq. 10–15 and section 4.1,
https://arxiv.org/abs/2210.02747

NOTE: t = 0 is noise and t = 1 data, as in the paper; diffusion papers, and the diffusion folder, count from the data.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reference_models.parts.require import positive, within
from reference_models.parts.shapes import expand_right


@dataclass(frozen=True)
class Coefficients:
    """α_t, σ_t and their derivatives in t, each shaped as t."""

    alpha: Tensor
    sigma: Tensor
    d_alpha: Tensor
    d_sigma: Tensor


@dataclass(frozen=True)
class PathSample:
    """A point of a path and how it moves: x_t and dx_t = dx_t/dt are shaped as the noise x_0 and the data x_1."""

    x_0: Tensor
    x_1: Tensor
    t: Tensor
    x_t: Tensor
    dx_t: Tensor


@dataclass(frozen=True)
class LinearSDE:
    """dx = f x ds + g dw in diffusion time s = 1 − t: `drift` = f and `diffusion` = g², shaped as t."""

    drift: Tensor
    diffusion: Tensor


@dataclass(frozen=True)
class Place:
    """Where a point lies on a path: x, (*B, *event), and t, (*B,) or ()."""

    x: Tensor
    t: Tensor


class GaussianPath(ABC):
    """α_t and σ_t; everything else follows. x is (*B, *event), t is (*B,) or (), in [0, 1]."""

    @abstractmethod
    def coefficients(self, t: Tensor) -> Coefficients:
        """α, σ and their derivatives at t."""

    @abstractmethod
    def time_of(self, log_ratio: Tensor) -> Tensor:
        """The t at which log(α_t/σ_t) has the given value."""

    def at(self, t: Tensor, x: Tensor) -> Coefficients:
        """The coefficients at t, shaped so that they multiply x; ValueError when t lies outside [0, 1]."""
        if not bool(((t >= 0) & (t <= 1)).all()):
            raise ValueError(f"every t must lie in [0, 1], got values in [{float(t.min()):g}, {float(t.max()):g}]")
        if t.ndim > x.ndim or t.shape != x.shape[: t.ndim]:
            raise ValueError(f"t must have shape () or the batch shape of x {tuple(x.shape)}, got {tuple(t.shape)}")
        c = self.coefficients(t.to(x.dtype))
        return Coefficients(*(expand_right(value, x) for value in (c.alpha, c.sigma, c.d_alpha, c.d_sigma)))

    def interpolate(self, x_0: Tensor, x_1: Tensor, t: Tensor) -> PathSample:
        """x_t = α x_1 + σ x_0 and its derivative. Raises ValueError when the shapes of x_0 and x_1 differ."""
        if x_0.shape != x_1.shape:
            raise ValueError(f"x_0 and x_1 must have one shape, got {tuple(x_0.shape)} and {tuple(x_1.shape)}")
        c = self.at(t, x_1)
        return PathSample(x_0, x_1, t, c.alpha * x_1 + c.sigma * x_0, c.d_alpha * x_1 + c.d_sigma * x_0)

    def conditional_velocity(self, x: Tensor, x_1: Tensor, t: Tensor) -> Tensor:
        """u_t(x | x_1), eq. 15; σ_t must not be zero."""
        c = self.at(t, x)
        return c.d_alpha * x_1 + c.d_sigma / c.sigma * (x - c.alpha * x_1)

    def combine(self, data: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The velocity from the expected data point and the expected noise."""
        c = self.at(t, data)
        return c.d_alpha * data + c.d_sigma * noise

    def expected_data(self, x: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
        """E[x_1 | x_t = x] from the velocity at x."""
        c = self.at(t, x)
        return (c.sigma * velocity - c.d_sigma * x) / (c.d_alpha * c.sigma - c.alpha * c.d_sigma)

    def expected_noise(self, x: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
        """E[x_0 | x_t = x] from the velocity at x."""
        c = self.at(t, x)
        return (c.d_alpha * x - c.alpha * velocity) / (c.d_alpha * c.sigma - c.alpha * c.d_sigma)

    def score(self, x: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
        """∇ log p_t(x) from the velocity at x; σ_t must not be zero."""
        return -self.expected_noise(x, velocity, t) / self.at(t, x).sigma

    def velocity(self, x: Tensor, score: Tensor, t: Tensor) -> Tensor:
        """u_t(x) from the score at x; α_t must not be zero."""
        sde = self.sde(t)
        return -expand_right(sde.drift, x) * x + 0.5 * expand_right(sde.diffusion, x) * score

    def sde(self, t: Tensor) -> LinearSDE:
        """The diffusion with the marginals of this path; α_t must not be zero."""
        c = self.coefficients(t)
        rate = c.d_alpha / c.alpha
        return LinearSDE(-rate, 2 * c.sigma * (c.sigma * rate - c.d_sigma))


@dataclass(frozen=True)
class Linear(GaussianPath):
    """α = t, σ = 1 − (1 − σ_min) t: points move on straight lines at constant speed, x_1 − (1 − σ_min) x_0 (eq. 20–23).

    With sigma_min = 0 this is the linear interpolation of rectified flow.
    """

    sigma_min: float = 0.0

    def __post_init__(self) -> None:
        within("sigma_min", self.sigma_min, 0, 1, "[)")

    def coefficients(self, t: Tensor) -> Coefficients:
        one = torch.ones_like(t)
        slope = 1 - self.sigma_min
        return Coefficients(t, 1 - slope * t, one, -slope * one)

    def time_of(self, log_ratio: Tensor) -> Tensor:
        return 1 / (torch.exp(-log_ratio) + (1 - self.sigma_min))


@dataclass(frozen=True)
class Trigonometric(GaussianPath):
    """α = sin(πt/2), σ = cos(πt/2): a quarter of a circle, of unit variance all along when the data have it."""

    def coefficients(self, t: Tensor) -> Coefficients:
        angle = 0.5 * math.pi * t
        alpha, sigma = torch.sin(angle), torch.cos(angle)
        return Coefficients(alpha, sigma, 0.5 * math.pi * sigma, -0.5 * math.pi * alpha)

    def time_of(self, log_ratio: Tensor) -> Tensor:
        return 2 / math.pi * torch.atan(torch.exp(log_ratio))


@dataclass(frozen=True)
class VariancePreserving(GaussianPath):
    """The path of variance-preserving diffusion: α = e^{−B/2}, σ² = 1 − α².

    B = β_min s + ½(β_max − β_min) s² is the noise added in diffusion time s = 1 − t; the defaults are those of
    "Score-Based Generative Modeling through Stochastic Differential Equations" (Song et al., 2021), appendix C,
    https://arxiv.org/abs/2011.13456. σ̇ is infinite at t = 1, and α_0 = 0.007 is not quite zero.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        positive("beta_min", self.beta_min)
        if not self.beta_max >= self.beta_min:
            raise ValueError(f"beta_max must be at least beta_min, got {self.beta_max} and {self.beta_min}")

    def coefficients(self, t: Tensor) -> Coefficients:
        s, growth = 1 - t, self.beta_max - self.beta_min
        B, beta = self.beta_min * s + 0.5 * growth * s**2, self.beta_min + growth * s
        alpha, sigma = torch.exp(-0.5 * B), torch.sqrt(-torch.expm1(-B))
        return Coefficients(alpha, sigma, 0.5 * beta * alpha, -0.5 * beta * alpha**2 / sigma)

    def time_of(self, log_ratio: Tensor) -> Tensor:
        B = F.softplus(-2 * log_ratio)
        root = torch.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * B)
        return 1 - 2 * B / (self.beta_min + root)


def change_path(x: Tensor, t: Tensor, source: GaussianPath, target: GaussianPath) -> Place:
    """The point of `target` that carries the same information as x at t of `source`: equal α/σ, x rescaled.

    If x has the law of the source path at t, the result has that of the target path at its t. Raises ValueError at the
    ends, where the ratio is 0 or infinite, and where the target has no such ratio because it keeps more signal.
    """
    within("t", t, 0, 1, "()")
    a = source.coefficients(t)
    t_target = target.time_of(torch.log(a.alpha) - torch.log(a.sigma))
    if not bool((t_target >= 0).all()):
        raise ValueError(f"{target} reaches no such ratio: its t would be {float(t_target.min()):g}")
    b = target.coefficients(t_target)
    return Place(expand_right(b.sigma / a.sigma, x) * x, t_target)
