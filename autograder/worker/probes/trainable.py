"""A probe to train: a small network that can learn what it is shown."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Perceptron(nn.Module):
    """f(x) = W₂ tanh(W₁ flatten(x) + b₁) + b₂: (B, *) to (B, outputs), with weights that `seed` alone decides.

    Known: two of one seed are equal and other random numbers stay as they were, so the weights before training are
    known to the judge, who builds a twin; `fit` must move all four of its parameters, and gradient descent lowers any
    smooth loss on it. Its output layer is not zero at the start, so a gradient reaches every parameter at once.
    """

    def __init__(self, inputs: int, outputs: int, hidden: int = 32, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator("cpu").manual_seed(seed)
        shapes = {"W1": (hidden, inputs), "b1": (hidden,), "W2": (outputs, hidden), "b2": (outputs,)}
        for name, shape in shapes.items():
            fan_in = inputs if name.endswith("1") else hidden
            drawn = torch.randn(shape, generator=generator, dtype=torch.float64) / fan_in**0.5
            setattr(self, name, nn.Parameter(drawn.to(torch.get_default_dtype())))

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        W1, b1, W2, b2 = (getattr(self, name).to(x.dtype) for name in ("W1", "b1", "W2", "b2"))
        hidden = (x.flatten(1) @ W1.T + b1).tanh()
        out: Tensor = hidden @ W2.T + b2
        return out
