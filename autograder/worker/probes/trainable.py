"""Probes to train: small networks that can learn what they are shown, with weights that a seed alone decides."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from .times import per_sample


class Perceptron(nn.Module):
    """f(x) = W₂ tanh(W₁ flatten(x) + b₁) + b₂: (B, *) to (B, outputs), with weights that `seed` alone decides.

    Known: two of one seed are equal and other random numbers stay as they were, so the weights before training are
    known to the judge, who builds a twin; `fit` must move all four of its parameters, and gradient descent lowers any
    smooth loss on it. Its output layer is not zero at the start, so a gradient reaches every parameter at once.
    """

    def __init__(self, inputs: int, outputs: int, hidden: int = 32, seed: int = 0) -> None:
        super().__init__()
        _draw_layers(self, (inputs, hidden, outputs), seed)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        W1, b1, W2, b2 = (getattr(self, name).to(x.dtype) for name in ("W1", "b1", "W2", "b2"))
        hidden = (x.flatten(1) @ W1.T + b1).tanh()
        out: Tensor = hidden @ W2.T + b2
        return out


class SmallVelocity(nn.Module):
    """f(x, t) = W₃ silu(W₂ silu(W₁ [x, t] + b₁) + b₂) + b₃ over the flattened sample, of x's shape.

    Args:
        dims: numbers of a sample.
        seed: decides all weights alone.

    Known: what is known of `Perceptron`. Time comes one a sample, (B,), or as one number; a loss that always shows the
    same time leaves the column of W₁ that belongs to it useless.
    """

    def __init__(self, dims: int, hidden: int = 64, seed: int = 0) -> None:
        super().__init__()
        _draw_layers(self, (dims + 1, hidden, hidden, dims), seed)

    def forward(self, x: Tensor, t: Any, *_: Any, **__: Any) -> Tensor:
        return _moved(self, x, t)


class SmallField(nn.Module):
    """f(t, x): a `SmallVelocity` of the same arguments that is called time first, as a field is.

    Known: what is known of `SmallVelocity`. Its derivatives by the point follow no formula shorter than the network.
    """

    def __init__(self, dims: int, hidden: int = 64, seed: int = 0) -> None:
        super().__init__()
        _draw_layers(self, (dims + 1, hidden, hidden, dims), seed)

    def forward(self, t: Any, x: Tensor, *_: Any, **__: Any) -> Tensor:
        return _moved(self, x, t)


def _moved(net: nn.Module, x: Tensor, t: Any) -> Tensor:
    """Three layers over the flattened sample and its time, of x's shape."""
    flat = x.flatten(1)
    time = per_sample(t, flat).to(x.dtype).expand(len(flat), 1)
    h = torch.cat([flat, time], 1)  # (B, D + 1)
    for layer in (1, 2, 3):
        W, b = (getattr(net, f"{letter}{layer}").to(x.dtype) for letter in "Wb")
        h = h @ W.T + b
        h = nn.functional.silu(h) if layer < 3 else h
    return h.reshape(x.shape)


def _draw_layers(module: nn.Module, sizes: tuple[int, ...], seed: int) -> None:
    """Parameters W1, b1, W2, b2, … for layers from each size to the next, drawn with standard deviation 1/√fan-in."""
    generator = torch.Generator("cpu").manual_seed(seed)
    for layer, (fan_in, out) in enumerate(pairwise(sizes), 1):
        for name, shape in ((f"W{layer}", (out, fan_in)), (f"b{layer}", (out,))):
            drawn = torch.randn(shape, generator=generator, dtype=torch.float64) / fan_in**0.5
            setattr(module, name, nn.Parameter(drawn.to(torch.get_default_dtype())))
