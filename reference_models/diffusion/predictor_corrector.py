"""Predictor–corrector sampling: a step of the reverse SDE, then Langevin steps that repair the marginal.

Reverse diffusion, the predictor made from the forward transition q(x_t | x_s) = N(r x_s, q I)          (eq. 46)

    x_s = x_t − (r − 1) x_t + q s(x_t, t) + √q z = (2 − r) x_t + q s(x_t, t) + √q z

Langevin corrector with the step size set by a signal-to-noise ratio ρ                          (algorithms 4, 5)

    δ = 2 (ρ |z|/|s(x, t)|)²,     x ← x + δ s(x, t) + √(2δ) z,     z ~ N(0, I)

"Score-Based Generative Modeling through Stochastic Differential Equations" (Song et al., 2021), appendices E and G,
https://arxiv.org/abs/2011.13456

NOTE: |z|/|s| is taken of each sample, as the algorithms read; the paper's code averages the norms over the batch.
Algorithm 5 (VP) multiplies δ by 1 − β_i of the step, which tends to 1 as steps get small; here it is 1 for all SDEs.
As δ is finite and depends on z, the chain settles near p_t, not in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reference_models.diffusion.score_sde import Score
from reference_models.diffusion.sde import SDE
from reference_models.parts.distributions import standard_normal
from reference_models.parts.require import at_least, positive
from reference_models.parts.shapes import expand_right


@dataclass(frozen=True)
class ReverseDiffusion:
    """Eq. 46: the reverse step discretised as the forward one, here with the exact forward transition."""

    def step(self, sde: SDE, score: Score, x: Tensor, t: Tensor, s: Tensor, noise: Tensor) -> Tensor:
        """x at s from x (n, *event) at t; s and t scalars."""
        r, q = sde.transition(t, s)
        return (2.0 - r) * x + q * score(x, t) + q.sqrt() * noise


@dataclass(frozen=True)
class LangevinCorrector:
    """Langevin steps at fixed t; `ratio` is the paper's r, here ρ, and `steps` its M."""

    ratio: float = 0.16  # the setting of the code of Song et al. for CIFAR-10
    steps: int = 1

    def __post_init__(self) -> None:
        positive("ratio", self.ratio)
        at_least("steps", self.steps, 1)

    def step_size(self, score: Tensor, noise: Tensor) -> Tensor:
        """δ of each sample, (n,): 2 (ρ |z|/|s|)², from score and noise (n, *event); none where the score vanishes."""
        length, size = (v.flatten(1).square().sum(1).sqrt() for v in (noise, score))
        delta = 2.0 * (self.ratio * length / size).square()
        return torch.where(delta.isfinite(), delta, 0.0)

    def correct(self, sde: SDE, score: Score, x: Tensor, t: Tensor, generator: torch.Generator | None) -> Tensor:
        """x (n, *event) at t after `steps` Langevin steps towards p_t."""
        for _ in range(self.steps):
            noise = standard_normal(x.shape, x, generator)
            s = score(x, t)
            delta = expand_right(self.step_size(s, noise), x)
            x = x + delta * s + (2.0 * delta).sqrt() * noise
        return x
