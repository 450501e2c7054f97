"""f-divergences of finite laws, and weights whose singular values are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autograder.errors import AuthorError


@dataclass(frozen=True)
class Divergence:
    """D_f(p ‖ q) = E_q f(p/q) with f(1) = 0, f convex.

    Args:
        f: of the ratio u = p/q > 0, elementwise.
        slope: f′, elementwise: the values of the critic that is best.
        conjugate: f*(t) = sup_u ut − f(u), elementwise, f being continued to every u where its formula allows.
        largest: the supremum of the t for which f* is finite.
    """

    f: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]
    largest: float = float("inf")

    def between(self, p: Tensor, q: Tensor) -> Tensor:
        """D_f of two laws over the same states, q without zeros."""
        value: Tensor = (q * self.f(p / q)).sum()
        return value


DIVERGENCES = {
    "pearson": Divergence(lambda u: (u - 1).square(), lambda u: 2 * (u - 1), lambda t: t + t.square() / 4),
    "kl": Divergence(lambda u: u * u.log(), lambda u: u.log() + 1, lambda t: (t - 1).exp()),
    "hellinger": Divergence(
        lambda u: (u.sqrt() - 1).square(), lambda u: 1 - u.rsqrt(), lambda t: t / (1 - t), largest=1.0
    ),
}
"""By the names of `Conjugate`."""


def weight_with_singular_values(
    values: Sequence[float], shape: Sequence[int], generator: torch.Generator | None = None
) -> Tensor:
    """A weight (out, *) whose flattening (out, rest) has these singular values, else drawn at random; float64.

    Power iteration gains a factor (second / first)² a step, so values whose second is at most 0.7 of the first settle
    within forty steps. Of a convolution the reshape to (out · in, k · k) has other values.
    """
    rows, columns = shape[0], torch.Size(shape[1:]).numel()
    if not 1 <= len(values) <= min(rows, columns):
        raise AuthorError(f"a weight of shape {tuple(shape)} has up to {min(rows, columns)} values, got {len(values)}")
    left, right = (
        torch.linalg.qr(torch.randn(n, len(values), dtype=torch.float64, generator=generator))[0]
        for n in (rows, columns)
    )
    weight: Tensor = (left * torch.tensor(list(values), dtype=torch.float64) @ right.T).reshape(*shape)
    return weight
