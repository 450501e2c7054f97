"""One step of gradient descent, for training loops with several optimisers."""

from __future__ import annotations

import torch
from torch import Tensor


def descend(optimiser: torch.optim.Optimizer, loss: Tensor, decay: float = 1.0) -> None:
    """A step down the gradient of `loss`, a scalar, at `decay` times the learning rate the optimiser was built with.

    Gradients that other losses left behind are dropped first. Groups of parameters keep the rates they were given.
    """
    for group in optimiser.param_groups:
        group["lr"] = decay * group.setdefault("initial_lr", group["lr"])
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
