r"""Langevin dynamics: samples of a law from its score alone.

    unadjusted  x' = x + (η/2) ∇log p(x) + √η ε,      ε ~ N(0, I)                                     (ULA)
    adjusted    the same proposal, kept with chance min(1, [p(x') r(x | x')] / [p(x) r(x' | x)]),       (MALA)
                r(x' | x) = N(x'; x + (η/2) ∇log p(x), η I)
    annealed    ULA at noise levels σ_1 > … > σ_L in turn, with η_i = ε σ_i² / σ_L²                    (NCSN)

ULA has the law of the time-η discretisation, not p: for N(0, 1) the stationary variance is 1/(1 − η/4). MALA has p
exactly. Either may take forever between modes far apart; annealing first mixes where noise joins the modes, then
follows them as it falls.

NOTE: η is the variance of the noise, as in NCSN; the other habit, x + η∇log p + √(2η) ε, is this one with 2η for η.

Exponential Convergence of Langevin Distributions and Their Discrete Approximations (Roberts and Tweedie, 1996),
https://doi.org/10.2307/3318418
Generative Modeling by Estimating Gradients of the Data Distribution (Song and Ermon, 2019), algorithm 1,
https://arxiv.org/abs/1907.05600
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from reference_models.foundations.fisher_divergence import score_of
from reference_models.parts.distributions import standard_normal
from reference_models.parts.require import at_least, positive
from reference_models.parts.shapes import expand_right, sum_event

__all__ = [
    "MalaSamples",
    "annealed_langevin",
    "annealed_step_sizes",
    "langevin",
    "langevin_step",
    "mala",
    "mala_log_acceptance",
]

Score = Callable[[Tensor], Tensor]


def langevin_step(x: Tensor, score: Tensor, step_size: float, noise: Tensor) -> Tensor:
    """x + (η/2) s + √η ε, with x, the score at x and the noise shaped alike."""
    return x + step_size / 2 * score + math.sqrt(step_size) * noise


def langevin(
    score: Score,
    x: Tensor,
    *,
    step_size: float,
    steps: int,
    generator: Generator | None = None,
    denoise: bool = False,
) -> Tensor:
    """Unadjusted Langevin dynamics from x (*B, *event): where the chains are after `steps` steps.

    score: maps x to ∇log p(x), shaped as x. denoise: leave the noise out of the last step. The input is not changed.
    Raises ValueError for a step size that is not positive or fewer than 0 steps.
    """
    positive("step_size", step_size)
    at_least("steps", steps, 0)
    with torch.no_grad():
        for step in range(steps):
            noise = standard_normal(x.shape, x, generator)
            if denoise and step == steps - 1:
                noise = torch.zeros_like(noise)
            x = langevin_step(x, score(x), step_size, noise)
    return x


def _log_proposal(to: Tensor, start: Tensor, score: Tensor, step_size: float) -> Tensor:
    """log r(to | start) but for a constant, elementwise, to be summed over the event."""
    return -((to - start - step_size / 2 * score) ** 2) / (2 * step_size)


def mala_log_acceptance(
    log_prob: Callable[[Tensor], Tensor], score: Score, x: Tensor, proposed: Tensor, step_size: float
) -> Tensor:
    """log min(1, p(x') r(x | x') / p(x) r(x' | x)) for x and x' of shape (*B, *event): shape (*B,), at most 0."""
    forward = _log_proposal(proposed, x, score(x), step_size)
    backward = _log_proposal(x, proposed, score(proposed), step_size)
    log_p = log_prob(x)
    return (log_prob(proposed) - log_p + sum_event(backward - forward, x.ndim - log_p.ndim)).clamp(max=0)


@dataclass(frozen=True)
class MalaSamples:
    """Where the chains are, shape (*B, *event), and the part of proposals each has accepted, shape (*B,)."""

    x: Tensor
    acceptance: Tensor


def mala(
    log_prob: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    step_size: float,
    steps: int,
    score: Score | None = None,
    generator: Generator | None = None,
) -> MalaSamples:
    """Metropolis-adjusted Langevin dynamics from x (*B, *event), one chain a batch entry.

    log_prob: (*B, *event) to log p up to a constant, (*B,). score: its gradient, by autograd when None.
    Raises ValueError for a step size that is not positive or fewer than 1 step.
    """
    positive("step_size", step_size)
    at_least("steps", steps, 1)
    score = score_of(log_prob) if score is None else score
    with torch.no_grad():
        accepted = torch.zeros_like(log_prob(x))
        for _ in range(steps):
            proposed = langevin_step(x, score(x), step_size, standard_normal(x.shape, x, generator))
            u = torch.rand(accepted.shape, generator=generator, dtype=x.dtype, device=x.device)
            keep = u.log() < mala_log_acceptance(log_prob, score, x, proposed, step_size)
            x = torch.where(expand_right(keep, x), proposed, x)
            accepted = accepted + keep.to(x.dtype)
    return MalaSamples(x, accepted / steps)


def annealed_step_sizes(sigmas: Tensor, smallest_step: float) -> Tensor:
    """η_i = ε σ_i² / σ_L² for noise levels σ_1 > … > σ_L, shape (L,): signal to noise is the same at each level."""
    positive("smallest_step", smallest_step)
    positive("sigma", sigmas)
    if sigmas.ndim != 1 or len(sigmas) == 0 or not bool((sigmas.diff() < 0).all()):
        raise ValueError(f"noise levels must fall strictly, shape (L,), got {sigmas.tolist()}")
    return smallest_step * sigmas**2 / sigmas[-1] ** 2


def annealed_langevin(
    score: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    sigmas: Tensor,
    *,
    smallest_step: float,
    steps: int,
    generator: Generator | None = None,
    denoise: bool = False,
) -> Tensor:
    """Annealed Langevin dynamics from x (*B, *event): `steps` steps at each noise level, from the largest down.

    score: (x, sigma) to the score of the data noised with standard deviation sigma, a scalar tensor.
    smallest_step: ε, the step size at σ_L.
    denoise: leave the noise out of the very last step. Raises ValueError for levels that do not fall strictly.
    """
    at_least("steps", steps, 1)
    step_sizes = annealed_step_sizes(sigmas, smallest_step).tolist()
    with torch.no_grad():
        for level, step_size in enumerate(step_sizes):
            for step in range(steps):
                noise = standard_normal(x.shape, x, generator)
                if denoise and level == len(step_sizes) - 1 and step == steps - 1:
                    noise = torch.zeros_like(noise)
                x = langevin_step(x, score(x, sigmas[level]), step_size, noise)
    return x
