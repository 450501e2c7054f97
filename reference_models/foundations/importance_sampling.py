r"""Importance sampling: averages under a law one cannot draw from, by draws from another, weighted.

With x_n ~ q and w_n = p̃(x_n) / q(x_n), where p̃ = Z p,

    plain            (1/N) Σ w_n h(x_n)              → E_p h, unbiased, when p̃ is normalised (Z = 1)
    normaliser       (1/N) Σ w_n                     → Z, unbiased; its log is biased downwards (the bound of IWAE)
    self-normalised  Σ w_n h(x_n) / Σ w_n            → E_p h for any Z, with a bias of order 1/N
    effective size   (Σ w_n)² / Σ w_n²               in [1, N]; N / E_q (w/Z)² as N grows

All from log-weights, shape (N,) with N in front, so that nothing overflows. q must cover p: an average over weights
that never saw a mode of p does not know it. Standard errors: of the plain estimate std(w h)/√N; of the
self-normalised one, by the delta method, √(Σ w̄_n² (h_n − estimate)²) with w̄ = w/Σw.

Monte Carlo Theory, Methods and Examples (Owen, 2013), secs. 9.1–9.3, https://artowen.su.domains/mc/
The effective size: A Note on Importance Sampling Using Standardized Weights (Kong, 1992), technical report 348,
University of Chicago
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from reference_models.parts.require import at_least
from reference_models.protocols import Density

__all__ = [
    "Weighted",
    "effective_sample_size",
    "importance_sample",
    "log_normaliser",
    "plain_estimate",
    "resample",
    "self_normalised_estimate",
    "standard_error",
]


@dataclass(frozen=True)
class Weighted:
    """Draws of q, shape (N, *event), with log w_n = log p̃(x_n) − log q(x_n), shape (N,)."""

    x: Tensor
    log_weights: Tensor


def importance_sample(
    log_target: Callable[[Tensor], Tensor], proposal: Density, n: int, *, generator: Generator | None = None
) -> Weighted:
    """n weighted draws; log_target maps (n, *event) to log p̃ of shape (n,), nats, −inf allowed."""
    at_least("n", n, 1)
    with torch.no_grad():
        x = proposal.sample(n, generator=generator)
        return Weighted(x, log_target(x) - proposal.log_prob(x))


def _require_weights(log_weights: Tensor, values: Tensor | None = None) -> None:
    if log_weights.ndim != 1 or len(log_weights) == 0:
        raise ValueError(f"log_weights must have shape (N,), got {tuple(log_weights.shape)}")
    if not bool((log_weights < math.inf).all()) or not bool((log_weights > -math.inf).any()):
        values_found = f"values in [{float(log_weights.min()):g}, {float(log_weights.max()):g}]"
        raise ValueError(f"log_weights must be below inf and not all -inf, got {values_found}")
    if values is not None and values.shape[:1] != log_weights.shape:
        raise ValueError(f"values must have shape ({len(log_weights)}, *), got {tuple(values.shape)}")


def _weighted_sum(weights: Tensor, values: Tensor) -> Tensor:
    """Σ_n w_n h_n for weights (N,) and values (N, *S): shape (*S)."""
    return torch.tensordot(weights, values, dims=1)


def plain_estimate(log_weights: Tensor, values: Tensor) -> Tensor:
    """(1/N) Σ w_n h(x_n) for values h(x_n) of shape (N, *S): shape (*S). Right only when p̃ is normalised."""
    _require_weights(log_weights, values)
    return _weighted_sum(log_weights.exp(), values) / len(log_weights)


def log_normaliser(log_weights: Tensor) -> Tensor:
    """log of (1/N) Σ w_n, nats, a scalar: in the mean at most log Z."""
    _require_weights(log_weights)
    return torch.logsumexp(log_weights, dim=0) - math.log(len(log_weights))


def self_normalised_estimate(log_weights: Tensor, values: Tensor) -> Tensor:
    """Σ w_n h(x_n) / Σ w_n for values of shape (N, *S): shape (*S); a constant added to log_weights changes nothing."""
    _require_weights(log_weights, values)
    return _weighted_sum(log_weights.softmax(0), values)


def standard_error(log_weights: Tensor, values: Tensor) -> Tensor:
    """Of the self-normalised estimate, by the delta method: shape (*S)."""
    deviation = values - self_normalised_estimate(log_weights, values)
    return _weighted_sum(log_weights.softmax(0) ** 2, deviation**2).sqrt()


def effective_sample_size(log_weights: Tensor) -> Tensor:
    """(Σ w)² / Σ w², a scalar in [1, N]: how many equal weights would give as noisy an average."""
    _require_weights(log_weights)
    return torch.exp(2 * torch.logsumexp(log_weights, 0) - torch.logsumexp(2 * log_weights, 0))


def resample(weighted: Weighted, n: int, *, generator: Generator | None = None) -> Tensor:
    """n unweighted draws, (n, *event), each a copy of x_k with chance w_k / Σ w: nearly p's law when N is large."""
    at_least("n", n, 1)
    _require_weights(weighted.log_weights)
    chosen = torch.multinomial(weighted.log_weights.softmax(0), n, replacement=True, generator=generator)
    return weighted.x[chosen]
