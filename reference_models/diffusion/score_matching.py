"""Score matching: fit s(x) ≈ ∇ log p(x) from samples of p alone, three ways.

All differ from the Fisher divergence ½ E|s − ∇ log p|² by a constant of the data (denoising: of the noised data):

    implicit    E [ tr ∇s(x) + ½ |s(x)|² ]                     D backward passes a batch
    sliced      E_v E [ vᵀ ∇s(x) v + ½ (vᵀ s(x))² ]            one; ½ |s|² in place of ½ (vᵀ s)² has less variance
    denoising   E ½ |s(x̃) + (x̃ − x)/σ²|²,   x̃ = x + σ ε        none, but the score is that of p * N(0, σ²)

"Estimation of Non-Normalized Statistical Models by Score Matching" (Hyvärinen, 2005), eq. 4,
https://jmlr.org/papers/v6/hyvarinen05a.html
"Sliced Score Matching: A Scalable Approach to Density and Score Estimation" (Song, Garg, Shi, Ermon, 2019), section 3,
https://arxiv.org/abs/1905.07088
"A Connection Between Score Matching and Denoising Autoencoders" (Vincent, 2011), section 4.2,
https://doi.org/10.1162/NECO_a_00142

Losses are summed over dimensions and averaged over the batch. Scores are functions (N, *event) -> (N, *event) that
treat examples apart, so that derivatives of a batch's sum are derivatives of each example.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from reference_models.parts.autodiff import divergence
from reference_models.parts.distributions import standard_normal
from reference_models.parts.require import has_shape, positive

Score = Callable[[Tensor], Tensor]


def implicit_loss(score: Score, x: Tensor) -> Tensor:
    """Hyvärinen's loss with the exact trace of the Jacobian, a scalar; x (N, *event)."""
    x = _leaf(x)
    s = _checked(score, x)
    return (divergence(s, x, create_graph=True) + 0.5 * s.square().sum(1)).mean()


def sliced_loss(
    score: Score,
    x: Tensor,
    *,
    directions: Tensor | None = None,
    generator: torch.Generator | None = None,
    variance_reduced: bool = True,
) -> Tensor:
    """Sliced score matching with one direction an example, a scalar; x (N, *event).

    directions: v with E vvᵀ = I, of x's shape; drawn from N(0, I) unless given
    variance_reduced: E_v (vᵀ s)² = |s|² in place of (vᵀ s)², for directions drawn from N(0, I) or alike
    """
    x = _leaf(x)
    v = standard_normal(x.shape, x, generator) if directions is None else directions
    has_shape("directions", v, x.shape)
    v = v.flatten(1)
    s = _checked(score, x)
    projected = (v * s).sum(1)  # (N,)
    curvature = (_gradient(projected, x) * v).sum(1)  # vᵀ ∇s v
    size = s.square().sum(1) if variance_reduced else projected.square()
    return (curvature + 0.5 * size).mean()


def denoising_loss(
    score: Score,
    x: Tensor,
    std: float,
    *,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Vincent's loss at noise of standard deviation `std`, a scalar; x (N, *event), noise of x's shape.

    Its minimiser is the score of x + std·ε; its minimum is positive, as x̃ does not determine x.
    """
    positive("std", std)
    noise = standard_normal(x.shape, x, generator) if noise is None else noise
    has_shape("noise", noise, x.shape)
    error = score(x + std * noise) + noise / std
    return 0.5 * error.flatten(1).square().sum(1).mean()


def denoise(score: Score, x_noisy: Tensor, std: float) -> Tensor:
    """Tweedie's formula: E[x | x̃] = x̃ + σ² ∇ log p_σ(x̃), what the score of noised data knows about clean data."""
    return x_noisy + std**2 * score(x_noisy)


def _leaf(x: Tensor) -> Tensor:
    if x.ndim < 2:
        raise ValueError(f"x must have shape (N, *event), got {tuple(x.shape)}")
    return x.detach().requires_grad_(True)


def _checked(score: Score, x: Tensor) -> Tensor:
    s = score(x)
    has_shape("score", s, x.shape)
    return s.flatten(1)  # (N, D)


def _gradient(outputs: Tensor, x: Tensor) -> Tensor:
    """∂ outputs_n / ∂ x_n of each example, (N, D), differentiable itself; zero where the output ignores x."""
    if not outputs.requires_grad:
        return torch.zeros_like(x).flatten(1)
    (gradient,) = torch.autograd.grad(outputs.sum(), x, create_graph=True, materialize_grads=True)
    return gradient.flatten(1)
