"""Latents near the middle of their law: normal draws cut off at ±τ, and latents pulled towards their mean.

The law of a cut-off draw is drawn by inversion of the distribution function: the law that redrawing until |z_i| ≤ τ
has, in one pass. What truncation buys and costs is measured in `evaluation.truncation`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from reference_models.parts.require import has_shape


def truncated_normal(
    shape: Sequence[int],
    threshold: float,
    *,
    generator: Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Standard normal draws given that every |z_i| ≤ threshold, of the given shape; math.inf gives normal draws.

    Drawn in float64 and rounded: float32 has no uniform numbers close enough to 1. Raises ValueError unless
    threshold > 0.
    """
    if not threshold > 0:
        raise ValueError(f"threshold must be positive, got {threshold}")
    tail = 0.5 * math.erfc(threshold / math.sqrt(2))  # Φ(−τ)
    u = torch.rand(tuple(shape), generator=generator, dtype=torch.float64, device=device)
    z = torch.special.ndtri((tail + (1 - 2 * tail) * u).clamp(min=torch.finfo(torch.float64).tiny))
    return z.clamp(-threshold, threshold).to(dtype or torch.get_default_dtype())


def truncate_towards(w: Tensor, mean: Tensor, psi: float) -> Tensor:
    """w̄ + ψ (w − w̄) for latents w (*B, D) and their mean w̄ (D,). Raises ValueError for a mean of another width."""
    has_shape("mean", mean, w.shape[-1:])
    return mean + psi * (w - mean)
