"""Laws of Gaussian chains, of noised mixtures and of energies that are a table.

Of Gaussian data every sampler that is affine in x has an exact Gaussian law, which is not the law of the data: samplers
are judged against that one (rule R3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from autograder.errors import AuthorError
from autograder.worker.probes.diffusion import kept

Number = Tensor | float


def gaussian_recursion(
    slope: Sequence[Number] | Tensor,
    offset: Sequence[Number] | Tensor,
    noise: Sequence[Number] | Tensor,
    *,
    mean: Number = 0.0,
    variance: Number = 1.0,
) -> tuple[Tensor, Tensor]:
    """Mean and variance at the end of x_{k+1} = slope_k x_k + offset_k + noise_k ε_k, from N(mean, variance).

    Args:
        slope, offset, noise: one entry a step: numbers or the shape of a sample. noise_k is a standard deviation.
        mean, variance: of the start. Where `variance` is a matrix (D, D) the slopes may be matrices too and the result
            is a covariance.

    Returns:
        mean and variance, float64.
    """
    if not len(slope) == len(offset) == len(noise):
        raise AuthorError(f"one entry a step: got {len(slope)} slopes, {len(offset)} offsets and {len(noise)} noises")
    m, v = (torch.as_tensor(q, dtype=torch.float64) for q in (mean, variance))
    for step in zip(slope, offset, noise, strict=True):
        a, b, s = (torch.as_tensor(q, dtype=torch.float64) for q in step)
        if v.dim() == 2:
            A = a if a.dim() == 2 else torch.diag(a.expand(len(v)))
            m, v = A @ m.expand(len(v)) + b, A @ v @ A.T + torch.diag(s.square().expand(len(v)))
        else:
            m, v = a * m + b, a.square() * v + s.square()
    return m, v


def noise_table(mean: Number, std: Number, betas: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and shift for each index of time of the exact noise of N(mean, std²): what `TimeAffine` should learn.

    Returns:
        slope and shift, (T,) or (T, *shape of a sample), float64: E[ε | x_t = x] = slope[t] x + shift[t].
    """
    m, s = torch.broadcast_tensors(*(torch.as_tensor(q, dtype=torch.float64) for q in (mean, std)))
    abar = kept(betas).reshape(-1, *[1] * m.dim())  # (T, 1, …)
    slope = (1 - abar).sqrt() / (abar * s.square() + 1 - abar)
    return slope, -slope * abar.sqrt() * m


def mixture_log_prob(x: Tensor, means: Tensor, stds: Tensor, weights: Tensor, abar: Number = 1.0) -> Tensor:
    """log p_t(x) for data Σ_k weights_k N(means_k, stds_k² I) after x_t = √ᾱ x_0 + √(1 − ᾱ) ε; 1 is the data's own.

    Args:
        x: shape (*, D); means (K, D); stds and weights (K,); abar a number, or one a sample.

    Returns:
        shape (*,), nats. Its gradient in x is the score of `MixtureScore`.
    """
    kept_share = torch.as_tensor(abar, dtype=x.dtype).reshape(*torch.as_tensor(abar).shape, 1)  # (*, 1)
    variance = kept_share * stds.square() + 1 - kept_share  # (*, K)
    away = x.unsqueeze(-2) - kept_share.sqrt().unsqueeze(-1) * means  # (*, K, D)
    exponent = -0.5 * away.square().sum(-1) / variance - 0.5 * x.shape[-1] * (2 * math.pi * variance).log()
    return (weights.log() + exponent).logsumexp(-1)


def vp_moments(t: Number, beta_min: float, beta_max: float) -> tuple[Tensor, Tensor]:
    """What the VP SDE with β(t) = beta_min + t (beta_max − beta_min) keeps of x_0, and the deviation of its noise."""
    t = torch.as_tensor(t, dtype=torch.float64)
    spent = t * beta_min + 0.5 * t.square() * (beta_max - beta_min)
    return (-0.5 * spent).exp(), (-torch.expm1(-spent)).sqrt()


def table_energy_law(energies: Tensor) -> Tensor:
    """log p of every state under p ∝ e^{−E}, in the order of `TableEnergy`, shape (2ⁿ,), nats."""
    return (-energies.detach().double()).log_softmax(0)
