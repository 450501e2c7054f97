"""What several tests of adversarial models need: laws on few states, exact means, steps of the two players."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

COUNTS_P = [9, 1, 4, 7, 2, 8, 3, 6, 5, 1, 12, 2]  # of 60, on 12 states
COUNTS_Q = [2, 6, 5, 1, 9, 3, 10, 4, 1, 8, 1, 10]


def laws() -> tuple[Tensor, Tensor]:
    """Two laws on 12 states, nowhere zero, in sixtieths."""
    return torch.tensor(COUNTS_P) / 60.0, torch.tensor(COUNTS_Q) / 60.0


def at_states(values: Tensor, counts: list[int]) -> Tensor:
    """A batch in which state i stands counts[i] times: means over it are exact expectations."""
    return values.repeat_interleave(torch.tensor(counts, device=values.device))


def gradients(module: nn.Module) -> list[Tensor]:
    """The gradients that are there and not zero throughout."""
    return [p.grad for p in module.parameters() if p.grad is not None and bool(p.grad.any())]


def snapshot(module: nn.Module) -> list[Tensor]:
    """Copies of all parameters."""
    return [p.detach().clone() for p in module.parameters()]


def unchanged(module: nn.Module, before: Iterable[Tensor]) -> bool:
    """Whether every parameter equals its copy."""
    return all(torch.equal(p, old) for p, old in zip(module.parameters(), before, strict=True))


def count(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters())


def conv(i: int, o: int, kernel: int, bias: bool = True) -> int:
    """Parameters of a convolution."""
    return i * o * kernel**2 + o * bias


def linear(i: int, o: int, bias: bool = True) -> int:
    """Parameters of a linear layer."""
    return i * o + o * bias
