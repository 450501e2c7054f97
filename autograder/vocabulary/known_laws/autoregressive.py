"""Laws of autoregressive probes, exactly."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autograder.worker.probes.autoregressive import TableConditional, pixels_of


def table_law(logits: Tensor) -> tuple[Tensor, Tensor]:
    """All states of `TableConditional(logits)` and their exact log-probabilities.

    Returns:
        states: shape (2ⁿ, n), zeros and ones, row k being k written in binary with pixel 0 the highest digit.
        log_prob: shape (2ⁿ,), nats; logsumexp is 0.
    """
    n = pixels_of(logits)
    number = torch.arange(2**n)
    states = (number[:, None] >> torch.arange(n - 1, -1, -1)) & 1  # (2ⁿ, n)
    states = states.to(logits.dtype)
    predicted = TableConditional(logits)(states).detach()
    log_prob = -nn.functional.binary_cross_entropy_with_logits(predicted, states, reduction="none").sum(1)
    return states, log_prob


def strong_table(n: int, generator: torch.Generator | None = None, strength: float = 2.0) -> Tensor:
    """A table for `TableConditional` with strong dependence: logits ±strength(1 ± ¼), the sign drawn for each prefix.

    Siblings that differ in the newest bit only have opposite signs, so every pixel depends on the one before it, and
    the first pixel is nearly even, so both sides are seen. On 2×2 images a sampler that goes column by column is then
    0.25 to 0.52 in total variation away from the law (least and most of 3000 draws).

    Returns:
        logits, shape (2ⁿ − 1,), float64.
    """
    parts = [torch.rand(1, generator=generator, dtype=torch.float64) - 0.5]
    for i in range(1, n):
        sign = torch.randint(0, 2, (2 ** (i - 1),), generator=generator, dtype=torch.float64) * 2 - 1
        sign = torch.stack([sign, -sign], 1).flatten()  # (2ⁱ,)
        size = 0.75 + 0.5 * torch.rand(2**i, generator=generator, dtype=torch.float64)
        parts.append(strength * sign * size)
    return torch.cat(parts)
