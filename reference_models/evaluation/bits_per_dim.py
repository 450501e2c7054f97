r"""Bits per dimension: a likelihood in a unit that can be compared between models of the same data.

For a model of the levels 0..K−1 themselves,

    bits per dimension = −log₂ P(x) / D = nll in nats / (D ln 2),

log₂ K for the model that knows nothing. A density model of dequantised levels x + u, u uniform in [0, 1)^D, bounds it:
E_u log p(x + u) ≤ log ∫ p(x + u) du = log P(x). When the data were scaled, so that the K levels span an interval of
width w, a level takes up w/K of it and p is per unit of the *scaled* data; each dimension then pays log₂(K / w) more:

    bits per dimension = nll / (D ln 2) + log₂ K − log₂ w,     w = 1 for [0, 1], 2 for [−1, 1], K unscaled.

Forgetting the correction understates an 8-bit model by 8 bits.

A Note on the Evaluation of Generative Models (Theis, van den Oord and Bethge, 2016), sec. 3.1,
https://arxiv.org/abs/1511.01844
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from reference_models.evaluation.bootstrap import Interval, bootstrap_mean
from reference_models.parts.require import at_least, positive

__all__ = ["bits_per_dim", "bits_per_dim_interval", "dequantised_nll", "nats_from_bits_per_dim"]


def bits_per_dim(nll: Tensor, dims: int, *, levels: int | None = None, width: float | None = None) -> Tensor:
    """Bits per dimension from −log-likelihoods in nats, summed over dims: shaped as nll.

    nll: of masses P(x), or of densities of unscaled levels, when `levels` and `width` are left out; of densities of
        dequantised data scaled so that `levels` levels span an interval of `width` otherwise.
    Raises ValueError for dims < 1, levels < 2, a width not positive, or one of the two without the other.
    """
    at_least("dims", dims, 1)
    if (levels is None) != (width is None):
        raise ValueError(f"levels and width belong together, got levels={levels} and width={width}")
    bits = nll / (dims * math.log(2))
    if levels is None or width is None:
        return bits
    at_least("levels", levels, 2)
    positive("width", width)
    return bits + math.log2(levels / width)


def nats_from_bits_per_dim(bits: Tensor, dims: int, *, levels: int | None = None, width: float | None = None) -> Tensor:
    """The inverse of `bits_per_dim`: nats summed over dims."""
    correction = bits_per_dim(torch.zeros_like(bits), dims, levels=levels, width=width)
    return (bits - correction) * (dims * math.log(2))


def bits_per_dim_interval(
    nll: Tensor,
    dims: int,
    *,
    levels: int | None = None,
    width: float | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    generator: Generator | None = None,
) -> Interval:
    """The mean over examples, nll of shape (N,), with its percentile interval."""
    if nll.ndim != 1 or len(nll) == 0:
        raise ValueError(f"nll must have shape (N,), one number an example, got {tuple(nll.shape)}")
    bits = bits_per_dim(nll, dims, levels=levels, width=width)
    return bootstrap_mean(bits, resamples=resamples, level=level, generator=generator)


def dequantised_nll(
    log_prob: Callable[[Tensor], Tensor],
    x: Tensor,
    levels: int,
    *,
    draws: int = 1,
    generator: Generator | None = None,
) -> Tensor:
    """A bound on −log P(x) − D log K in nats, shape (N,), from a density model of (x + u) / K in [0, 1]^D.

    log_prob: densities of scaled data (N, *event) to (N,).
    x: levels 0..K−1, K = `levels`, shape (N, *event), any dtype.
    draws: S draws of u an example, joined as −log mean_s p((x + u_s) / K), whose mean falls to the exact value in S.
    Give the result to `bits_per_dim(nll, D, levels=K, width=1)`. Raises ValueError for levels outside 0..K−1.
    """
    at_least("levels", levels, 2)
    at_least("draws", draws, 1)
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > levels - 1 or bool((x != x.round()).any()):
        raise ValueError(f"every level must be a whole number in 0..{levels - 1}, got values in [{low:g}, {high:g}]")
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    densities = []
    for _ in range(draws):
        u = torch.rand(x.shape, generator=generator, device=x.device, dtype=dtype)
        densities.append(log_prob((x.to(dtype) + u) / levels))
    return math.log(draws) - torch.logsumexp(torch.stack(densities), dim=0)
