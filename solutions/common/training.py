"""What hidden checks show of a training."""

from __future__ import annotations

import torch


def draw_losses(figures, trained, name, unit="nats per image"):
    """The curve of the losses that the notebook kept in the list `name`; nothing if there is no such list."""
    losses = trained.get(name) if trained.has(name) else None
    if isinstance(losses, list) and losses and all(isinstance(v, float) for v in losses):
        rows = torch.stack([torch.arange(float(len(losses))), torch.tensor(losses)], 1)
        thinned = rows[:: max(len(rows) // 300, 1)]
        figures.curve("Training loss, as your notebook recorded it", {unit: thinned})
