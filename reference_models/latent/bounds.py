"""Both ends of every bound in this folder: examples come in as (*B, *event), its parts go out as (*B,)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reference_models.parts.require import has_event_shape
from reference_models.parts.shapes import flatten_batch, restore_batch
from reference_models.protocols import Elbo


def examples(x: Tensor, event_shape: Sequence[int]) -> tuple[Tensor, torch.Size]:
    """x as (N, *event), N = 1 for a single example, and the batch shape it had.

    Raises ValueError unless x has shape (*event) or (N, *event).
    """
    has_event_shape("x", x, event_shape)
    return flatten_batch(x, len(event_shape))


def as_elbo(reconstruction: Tensor, kl: Tensor, batch_shape: torch.Size) -> Elbo:
    """reconstruction − kl with its parts: (N,) each, nats, to (*B,)."""
    parts = (reconstruction - kl, reconstruction, kl)
    return Elbo(*(restore_batch(part, batch_shape) for part in parts))
