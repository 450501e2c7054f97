r"""Truncation trick: give up variety for quality by keeping latents near the middle of their law.

Two forms. BigGAN draws the latent of a trained generator from a normal law cut off at ±τ,

    z_i ~ N(0, 1) given |z_i| ≤ τ,       Var z_i = 1 − 2τ φ(τ) / (2Φ(τ) − 1),

one law a coordinate, here by inversion of the distribution function: the law that redrawing until |z_i| ≤ τ has, in one
pass.
StyleGAN pulls the mapped latent towards its mean, w' = w̄ + ψ (w − w̄): ψ = 1 changes nothing, ψ = 0 gives one image,
and the variance shrinks by ψ². Either way precision rises and recall falls; `truncation_curve` draws the trade.

Large Scale GAN Training for High Fidelity Natural Image Synthesis (Brock, Donahue and Simonyan, 2019), sec. 3.1,
https://arxiv.org/abs/1809.11096
A Style-Based Generator Architecture for Generative Adversarial Networks (Karras, Laine and Aila, 2019), appendix B,
https://arxiv.org/abs/1812.04948
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_models.evaluation.frechet import frechet_distance
from reference_models.evaluation.precision_recall import precision_recall

__all__ = ["METRICS", "TruncationCurve", "truncation_curve"]

Metric = Callable[[Tensor, Tensor], float]  # real features (N, F) and fake ones (M, F) to a number
METRICS: Mapping[str, Metric] = {
    "precision": lambda real, fake: precision_recall(real, fake).precision,
    "recall": lambda real, fake: precision_recall(real, fake).recall,
    "frechet": lambda real, fake: float(frechet_distance(real, fake)),
}


@dataclass(frozen=True)
class TruncationCurve:
    """How metrics move with truncation: `truncation` and each of `metrics`, by name, have one entry a value tried."""

    truncation: Tensor
    metrics: Mapping[str, Tensor]


def truncation_curve(
    sample: Callable[[float], Tensor],
    real: Tensor,
    truncations: Sequence[float],
    *,
    metrics: Mapping[str, Metric] = METRICS,
) -> TruncationCurve:
    """Metrics of samples over values of τ or ψ.

    sample: takes a value and returns features of samples drawn with it, shape (M, F). Draw them from the same noise
        at every value, and the curve shows truncation only. real: features of data, (N, F).
    Raises ValueError for no values or one that is negative.
    """
    if len(truncations) == 0 or not all(t >= 0 for t in truncations):
        raise ValueError(f"truncations must be one or more numbers, none negative, got {list(truncations)}")
    drawn = [sample(t) for t in truncations]
    lines = {name: torch.tensor([metric(real, fake) for fake in drawn]) for name, metric in metrics.items()}
    return TruncationCurve(torch.tensor(truncations), lines)
