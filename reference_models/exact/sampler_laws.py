"""The exact law that a diffusion sampler gives on data N(m, s²), step by step.

With the best denoiser (`gaussian_data`) each step of a sampler is affine, x ← A x + B + C z with fresh z ~ N(0, 1), and
the law stays normal:

    mean ← A mean + B,      variance ← A² variance + C²

The functions `*_steps` write a sampler's step down as A, B, C from the formulas of its paper. What `law_of_sampler`
makes of them is what the code's samples must follow, with all error of discretisation included.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from reference_models.exact.gaussian_data import GaussianPerturbation, best_guess


class AffineStep(NamedTuple):
    """x ← slope · x + offset + noise · z, with z ~ N(0, 1)."""

    slope: float
    offset: float
    noise: float


class NormalLaw(NamedTuple):
    """N(mean, std²) in one dimension."""

    mean: float
    std: float


class GaussianProcess(GaussianPerturbation, Protocol):
    """An SDE dx = f(t) x dt + g(t) dw, besides what it does to data by time t."""

    def drift_rate(self, t: Tensor) -> Tensor:
        """f(t)."""
        ...

    def diffusion(self, t: Tensor) -> Tensor:
        """g(t)."""
        ...


def law_of_sampler(steps: Iterable[tuple[float, float, float]], mean: float = 0.0, std: float = 1.0) -> NormalLaw:
    """The law after these steps (A, B, C), started from N(mean, std²)."""
    variance = std**2
    for slope, offset, noise in steps:
        mean, variance = slope * mean + offset, slope**2 * variance + noise**2
    return NormalLaw(mean, math.sqrt(variance))


def off_by(samples: Tensor, mean: float, std: float) -> float:
    """How many standard errors the mean, or the deviation, of normal samples is off, at worst; any shape, all entries.

    Above 5 by chance for one seed in a million.
    """
    flat = samples.flatten()
    root = math.sqrt(len(flat))
    off_mean, off_std = float(flat.mean()) - mean, float(flat.std()) - std
    return max(abs(off_mean), math.sqrt(2) * abs(off_std)) * root / std


def ancestral_steps(
    alpha_bars: Sequence[float], times: Sequence[int], mean: float, std: float, *, variance: Literal["small", "large"]
) -> list[AffineStep]:
    """DDPM's sampler along increasing `times`, from the last to the first: eq. 7 of Ho et al., with β = 1 − ᾱ_t/ᾱ_s.

    variance: of a step, "small" β (1 − ᾱ_s)/(1 − ᾱ_t) or "large" β. The last step, to the data, adds no noise.
    """
    steps = []
    for bar, before in _pairs(alpha_bars, times):
        beta = 1 - bar / before
        slope, offset = best_guess(bar, mean, std)
        weight = before**0.5 * beta / (1 - bar)
        rest = (1 - beta) ** 0.5 * (1 - before) / (1 - bar)
        noise = beta * (1 - before) / (1 - bar) if variance == "small" else beta
        steps.append(AffineStep(weight * slope + rest, weight * offset, noise**0.5 if before < 1 else 0.0))
    return steps


def ddim_steps(
    alpha_bars: Sequence[float], times: Sequence[int], mean: float, std: float, *, eta: float
) -> list[AffineStep]:
    """DDIM along increasing `times`: eq. 12 of Song et al. with x̂_0 = c x + d and ε̂ = (x − √ᾱ x̂_0)/√(1 − ᾱ)."""
    steps = []
    for bar, before in _pairs(alpha_bars, times):
        sigma2 = eta**2 * (1 - before) / (1 - bar) * (1 - bar / before)
        c, d = best_guess(bar, mean, std)
        direction = ((1 - before - sigma2) / (1 - bar)) ** 0.5
        slope = before**0.5 * c + direction * (1 - bar**0.5 * c)
        steps.append(AffineStep(slope, (before**0.5 - direction * bar**0.5) * d, sigma2**0.5))
    return steps


def _pairs(alpha_bars: Sequence[float], times: Sequence[int]) -> list[tuple[float, float]]:
    """ᾱ_t and ᾱ_s of each step from t to s, where the last s is the data, with ᾱ = 1."""
    bars = [1.0, *(alpha_bars[t] for t in times)]
    return list(zip(bars[:0:-1], bars[-2::-1], strict=True))


def euler_steps(process: GaussianProcess, steps: int, t_min: float, mean: float, variance: float) -> list[AffineStep]:
    """Euler–Maruyama on the reverse SDE from t = 1 to t_min in even steps h; data N(mean, variance).

    x + h (−f x − g² (x − a m)/v) + g √h z, where v = a² s² + σ² is the variance of x(t). The last step adds no noise.
    """
    chain = []
    times = torch.linspace(1.0, t_min, steps + 1)
    for i in range(steps):
        t, h = times[i], float(times[i] - times[i + 1])
        a, v = _moments(process, t, variance)
        f, g2 = float(process.drift_rate(t)), float(process.diffusion(t)) ** 2
        noise = (g2 * h) ** 0.5 if i < steps - 1 else 0.0
        chain.append(AffineStep(1 - h * (f + g2 / v), h * g2 * a * mean / v, noise))
    return chain


def reverse_diffusion_steps(
    process: GaussianPerturbation, steps: int, t_min: float, mean: float, variance: float
) -> list[AffineStep]:
    """The reverse diffusion sampler of Song et al., eq. 46, from t = 1 to t_min; data N(mean, variance).

    From t to s the forward process multiplies by r = a(t)/a(s) and adds variance q = σ(t)² − r² σ(s)²; back it is
    (2 − r) x + q score + √q z. The last step adds no noise.
    """
    chain = []
    times = torch.linspace(1.0, t_min, steps + 1)
    for i in range(steps):
        t, s = times[i], times[i + 1]
        r = float(process.a(t) / process.a(s))
        q = float(process.sigma(t) ** 2) - r**2 * float(process.sigma(s) ** 2)
        a, v = _moments(process, t, variance)
        chain.append(AffineStep(2 - r - q / v, q * a * mean / v, q**0.5 if i < steps - 1 else 0.0))
    return chain


def _moments(process: GaussianPerturbation, t: Tensor, variance: float) -> tuple[float, float]:
    """a(t), and the variance of x(t)."""
    a = float(process.a(t))
    return a, a**2 * variance + float(process.sigma(t) ** 2)
