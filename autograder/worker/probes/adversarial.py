"""Probes of adversarial models: critics whose slope is known at every point, and conjugates of f-divergences."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .times import whole
from .weights import weight_of

CONJUGATES = ("pearson", "kl", "hellinger")


class DiscreteCritic(nn.Module):
    """T(x) = values[x] for states x that are whole numbers 0 … K − 1, shape (B,) or (B, 1); the result has shape (B,).

    Known: on laws p and q over K states every expectation is a finite sum; the critic that is best for an f-divergence
    has values f′(p/q), the logit of the best discriminator is log p/q.
    """

    def __init__(self, values: Any) -> None:
        super().__init__()
        self.values = weight_of(values)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        if x.dim() > 2 or (x.dim() == 2 and x.shape[1] != 1):
            raise ValueError(f"this critic takes state numbers of shape (B,), got {tuple(x.shape)}")
        return self.values[whole(x.flatten(), len(self.values), "states")]


class WaveCritic(nn.Module):
    """D(x) = amplitude · sin(wᵀx + phase) + bias for flattened x: w (D,), result (B,).

    Known: ∇D = amplitude · cos(wᵀx + phase) w, another slope at every point, none at the crests; its norm is at most
    |amplitude| ‖w‖. So a penalty tells at which points the slope was taken.
    """

    def __init__(self, weight: Any, amplitude: Any = 1.0, phase: Any = 0.0, bias: Any = 0.0) -> None:
        super().__init__()
        self.weight = weight_of(weight)
        self.amplitude = weight_of(amplitude)
        self.phase = weight_of(phase)
        self.bias = weight_of(bias)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        w, a, phase, bias = (q.to(x.dtype) for q in (self.weight, self.amplitude, self.phase, self.bias))
        return a * (x.flatten(1) @ w + phase).sin() + bias  # (B,)


class Conjugate(nn.Module):
    """f*(t), elementwise, of a divergence by its name: "pearson", "kl" or "hellinger" (squared; t < 1).

    Known: t + t²/4, e^{t−1} and t/(1 − t); with the critic f′(p/q) the bound E_p T − E_q f*(T) is the divergence.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if name not in CONJUGATES:
            raise ValueError(f"there is no conjugate {name!r}; there are {', '.join(CONJUGATES)}")
        self.name = name

    def forward(self, t: Tensor, *_: Any, **__: Any) -> Tensor:
        if self.name == "pearson":
            return t + t.square() / 4
        return torch.exp(t - 1) if self.name == "kl" else t / (1 - t)
