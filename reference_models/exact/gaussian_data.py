"""The best that a denoiser can do when the data are N(m, s² I), where everything is linear.

With x_t = a x_0 + σ ε the pair (x_t, x_0) is jointly Gaussian, so that

    E[x_0 | x_t] = m + a s² (x_t − a m) / (a² s² + σ²)
    E[ε | x_t]   = σ (x_t − a m) / (a² s² + σ²)

A network that answers with these makes every sampler an affine recursion, whose law `sampler_laws` writes down.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


class GaussianPerturbation(Protocol):
    """What a continuous process does to data: x(t) = a(t) x(0) + σ(t) ε, for times t in [0, 1]."""

    def a(self, t: Tensor) -> Tensor:
        """The signal that is left, of t's shape."""
        ...

    def sigma(self, t: Tensor) -> Tensor:
        """The deviation of the noise, of t's shape."""
        ...


class BestNoise(nn.Module):
    """E[ε | x_t] under a discrete schedule; called like a network, with x (*B, *event) and indices t, (*B,) or ().

    betas: β_1 … β_T, of which ᾱ_t is the product of 1 − β. mean, std: m and s of the data.
    """

    alpha_bars: Tensor

    def __init__(self, betas: Tensor, mean: float, std: float) -> None:
        super().__init__()
        self.register_buffer("alpha_bars", (1 - betas).cumprod(0))
        self.mean, self.std = mean, std

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """The noise in x, of its shape; a label y changes nothing."""
        alpha_bar = self.alpha_bars[t].to(x.dtype)
        alpha_bar = alpha_bar.reshape(-1, *(1,) * (x.ndim - 1)) if t.ndim else alpha_bar
        variance = alpha_bar * self.std**2 + 1 - alpha_bar
        return (1 - alpha_bar).sqrt() * (x - alpha_bar.sqrt() * self.mean) / variance


class ContinuousNoise(nn.Module):
    """E[ε | x_t] under a process in continuous time; called with x (N, 1) and times t (N,) in [0, 1].

    process: gives a(t) and σ(t), as every SDE of `diffusion.sde` does. mean, variance: m and s² of the data.
    """

    def __init__(self, process: GaussianPerturbation, mean: float, variance: float) -> None:
        super().__init__()
        self.process, self.mean, self.variance = process, mean, variance
        self.register_buffer("one", torch.ones(()))  # tells samplers device and dtype

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise in x, of its shape."""
        a, sigma = self.process.a(t).unsqueeze(-1), self.process.sigma(t).unsqueeze(-1)
        return sigma * (x - a * self.mean) / (a**2 * self.variance + sigma**2)


def best_guess(alpha_bar: float, mean: float, std: float) -> tuple[float, float]:
    """Slope and offset of E[x_0 | x_t] = slope · x_t + offset, at one ᾱ_t."""
    slope = alpha_bar**0.5 * std**2 / (alpha_bar * std**2 + 1 - alpha_bar)
    return slope, mean - slope * alpha_bar**0.5 * mean
