"""The Kolmogorov–Fokker–Planck equation: how the density of a diffusion moves, and whether a given density moves so.

For dx = f(x, t) dt + g(t) dw the density obeys

    ∂p/∂t = −div(f p) + ½ g² Δp

and, divided by p, with ℓ = log p and its gradient the score,

    ∂ℓ/∂t + div f + f·∇ℓ − ½ g² (Δℓ + |∇ℓ|²) = 0.

As Δp = div(p ∇ℓ), the same density obeys the continuity equation ∂p/∂t + div(v p) = 0 of v = f − ½ g² ∇ℓ: the
probability flow. Residuals by automatic differentiation tell a right path of densities from a wrong one.

"Score-Based Generative Modeling through Stochastic Differential Equations" (Song et al., 2021), appendix D.1,
https://arxiv.org/abs/2011.13456; the equation is that of Fokker (1914), Planck (1917) and Kolmogorov (1931),
"Über die analytischen Methoden in der Wahrscheinlichkeitsrechnung", https://doi.org/10.1007/BF01457949

NOTE: residuals are relative, divided by p, in units of 1/time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from reference_models.parts.autodiff import divergence

LogDensity = Callable[[Tensor, Tensor], Tensor]
Field = Callable[[Tensor, Tensor], Tensor]


def fokker_planck_residual(
    log_prob: LogDensity, drift: Field, diffusion: Callable[[Tensor], Tensor], x: Tensor, t: Tensor
) -> Tensor:
    """(∂p/∂t + div(f p) − ½ g² Δp)/p at x (N, D), t (N,): zero where p is a density of the diffusion, (N,).

    log_prob: (x, t) -> (N,) in nats; drift: (x, t) -> (N, D); diffusion: t -> g, (N,).
    """
    x, t = _leaves(x, t)
    score, speed = _derivatives(log_prob, x, t)
    f = drift(x, t)
    spreading = 0.5 * diffusion(t).square() * (divergence(score, x) + score.square().sum(-1))
    return (speed + divergence(f, x) + (f * score).sum(-1) - spreading).detach()


def continuity_residual(log_prob: LogDensity, velocity: Field, x: Tensor, t: Tensor) -> Tensor:
    """(∂p/∂t + div(v p))/p at x (N, D), t (N,): zero where the flow of v carries p along, (N,)."""
    x, t = _leaves(x, t)
    score, speed = _derivatives(log_prob, x, t)
    v = velocity(x, t)
    return (speed + divergence(v, x) + (v * score).sum(-1)).detach()


def _leaves(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    if x.ndim != 2 or t.shape != x.shape[:1]:
        raise ValueError(f"x must have shape (N, D) and t (N,), got {tuple(x.shape)} and {tuple(t.shape)}")
    return x.detach().requires_grad_(True), t.detach().requires_grad_(True)


def _derivatives(log_prob: LogDensity, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """∇ℓ (N, D) and ∂ℓ/∂t (N,)."""
    log_p = log_prob(x, t)
    if log_p.shape != t.shape:
        raise ValueError(f"log_prob must return shape {tuple(t.shape)}, got {tuple(log_p.shape)}")
    score, speed = torch.autograd.grad(log_p.sum(), (x, t), create_graph=True, materialize_grads=True)
    return score, speed
