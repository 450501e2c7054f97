"""What is known exactly of diffusing Gaussian data N(m, s² I): the best noise prediction and the laws samplers give."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reference_models.diffusion.sde import SDE


class BestNoise(nn.Module):
    """E[ε | x_t] for data N(m, s² I) under a schedule with these β, worked out from the joint Gaussian of x_t and ε."""

    def __init__(self, betas: Tensor, mean: float, std: float) -> None:
        super().__init__()
        self.register_buffer("alpha_bars", (1 - betas).cumprod(0))
        self.mean, self.std = mean, std

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        alpha_bar = self.alpha_bars[t].to(x.dtype).reshape(-1, *(1,) * (x.ndim - 1)) if t.ndim else self.alpha_bars[t]
        variance = alpha_bar * self.std**2 + 1 - alpha_bar
        return (1 - alpha_bar).sqrt() * (x - alpha_bar.sqrt() * self.mean) / variance


class ContinuousNoise(nn.Module):
    """E[ε | x_t] = σ (x − a m)/(a² v + σ²) for data N(m, v) under an SDE, x (N, 1)."""

    def __init__(self, sde: SDE, mean: float, variance: float) -> None:
        super().__init__()
        self.sde, self.mean, self.variance = sde, mean, variance
        self.register_buffer("one", torch.ones(()))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        a, sigma = self.sde.a(t).unsqueeze(-1), self.sde.sigma(t).unsqueeze(-1)
        return sigma * (x - a * self.mean) / (a**2 * self.variance + sigma**2)


class Recorder(nn.Module):
    """A network that remembers what it was given and returns `answer` times its first input."""

    def __init__(self, answer: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(float(answer)))
        self.calls: list[tuple[Tensor, ...]] = []

    def forward(self, *inputs: Tensor) -> Tensor:
        self.calls.append(inputs)
        return self.weight * inputs[0]


def best_guess(alpha_bar: float, mean: float, std: float) -> tuple[float, float]:
    """E[x_0 | x_t] = slope · x_t + offset."""
    slope = alpha_bar**0.5 * std**2 / (alpha_bar * std**2 + 1 - alpha_bar)
    return slope, mean - slope * alpha_bar**0.5 * mean


def law_of_sampler(steps: list[tuple[float, float, float]], mean: float = 0.0, std: float = 1.0) -> tuple[float, float]:
    """Mean and standard deviation after x <- A x + B + C z for each (A, B, C), from N(mean, std²)."""
    variance = std**2
    for a, b, c in steps:
        mean, variance = a * mean + b, a * a * variance + c * c
    return mean, variance**0.5


def off_by(samples: Tensor, mean: float, std: float) -> float:
    """How many standard errors the mean or the standard deviation of Gaussian samples is off, at worst.

    Above 5 by chance for 1e-6 of all seeds.
    """
    flat = samples.flatten()
    n = len(flat)
    return max(abs(float(flat.mean()) - mean) / (std / n**0.5), abs(float(flat.std()) - std) / (std / (2 * n) ** 0.5))
