"""Drawing from discrete conditionals: the one step every autoregressive sampler repeats.

Each value x_i is drawn from p(x_i | x_{<i}) and fed back. The draw itself is the same everywhere; what a family adds is
how cheaply it computes the next conditional.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def draw_bernoulli(logits: Tensor, generator: Generator | None = None) -> Tensor:
    """Zeros and ones, shaped and typed as the logits a: one with probability σ(a)."""
    u = torch.rand(logits.shape, generator=generator, device=logits.device, dtype=logits.dtype)
    return (u < torch.sigmoid(logits)).to(logits.dtype)


def draw_categorical(logits: Tensor, generator: Generator | None = None) -> Tensor:
    """Class indices drawn from softmax over the last dimension: (*S, K) to long (*S)."""
    probabilities = torch.softmax(logits, dim=-1).reshape(-1, logits.shape[-1])
    return torch.multinomial(probabilities, 1, generator=generator).reshape(logits.shape[:-1])
