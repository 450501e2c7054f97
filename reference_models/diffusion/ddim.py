"""DDIM: a non-Markovian process with the same marginals as DDPM, whose reverse may be deterministic and take few steps.

    σ² = η² (1−ᾱ_s)/(1−ᾱ_t) (1 − ᾱ_t/ᾱ_s)                                                     (eq. 16)
    x_s = √ᾱ_s x̂_0 + √(1−ᾱ_s−σ²) ε̂ + σ z                                                     (eq. 12)

η = 1 is DDPM with its small variance; η = 0 is a map without noise, Euler's method for an ordinary differential
equation (eq. 14), and may be run backwards to give the noise of a datum (section 4.3). A network trained for T steps
is sampled on any subsequence of them (section 4.2, appendix D.2).

"Denoising Diffusion Implicit Models" (Song, Meng, Ermon, 2021), https://arxiv.org/abs/2010.02502

NOTE: ᾱ here is the α of the paper; subsequences contain both the first index and the last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reference_models.diffusion.ddpm import DDPM
from reference_models.diffusion.gaussian_diffusion import GaussianDiffusion
from reference_models.diffusion.parametrisation import Prediction
from reference_models.parts.require import one_of, within
from reference_models.parts.training import evaluating


@dataclass(frozen=True)
class DDIM:
    """Eq. 12 as a sampler: eta = 0 deterministic, eta = 1 as random as DDPM. Raises ValueError outside [0, 1]."""

    eta: float = 0.0

    def __post_init__(self) -> None:
        within("eta", self.eta, 0, 1)

    def step(self, process: GaussianDiffusion, guess: Prediction, t: int, s: int, noise: Tensor) -> Tensor:
        """x_s from the guess at x_t; at s = −1 it is the guess of x_0."""
        schedule, x_t = process.schedule, guess.x_t
        ratio = schedule.variance(s, x_t) / schedule.variance(t, x_t)
        sigma2 = self.eta**2 * ratio * schedule.beta_between(t, s, x_t)
        direction = (schedule.variance(s, x_t) - sigma2).clamp(min=0.0).sqrt()  # rounding may take it below zero
        return schedule.alpha_bar(s, x_t).sqrt() * guess.x_0 + direction * guess.epsilon + sigma2.sqrt() * noise


def strided(total: int, steps: int, spacing: Literal["linear", "quadratic"] = "linear") -> list[int]:
    """`steps` increasing indices from 0 to total − 1, evenly or with gaps that grow away from the data (appendix D.2).

    Raises ValueError unless 1 ≤ steps ≤ total, and for a quadratic spacing so dense that indices would repeat.
    """
    one_of("spacing", spacing, ("linear", "quadratic"))
    if not 1 <= steps <= total:
        raise ValueError(f"steps must lie in 1..{total}, got {steps}")
    if steps == 1:
        return [total - 1]
    power = {"linear": 1, "quadratic": 2}[spacing]
    times = [round((total - 1) * (i / (steps - 1)) ** power) for i in range(steps)]
    if len(set(times)) < steps:
        raise ValueError(f"a {spacing} spacing of {total} indices has no {steps} different ones")
    return times


def encode(model: DDPM, x_0: Tensor, *, times: Iterable[int] | None = None) -> Tensor:
    """The noise x_T that DDIM with η = 0 maps to x_0 (*B, *event), up to the error of its steps (section 4.3).

    times: the indices visited, increasing, all by default. The guess at x_s is used to step from s to t; where s is the
    data, the network has no such time, and its first index stands in.
    """
    schedule, x = model.schedule, x_0
    with evaluating(model):
        for t, s in reversed(schedule.pairs(times)):
            at = torch.full(x.shape[: x.ndim - len(model.event_shape)], max(s, 0), device=x.device)
            epsilon = model.predict(x, at).epsilon
            clean = (x - schedule.variance(s, x).sqrt() * epsilon) / schedule.alpha_bar(s, x).sqrt()
            x = schedule.alpha_bar(t, x).sqrt() * clean + schedule.variance(t, x).sqrt() * epsilon
    return x
