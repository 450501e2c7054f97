r"""Rejection sampling: exact draws of p from draws of q, by throwing away.

When p̃(x) ≤ M q(x) everywhere, draw x ~ q and u ~ U[0, 1], and keep x if

    u < p̃(x) / (M q(x)).

What is kept has law p = p̃/Z exactly, each proposal is kept with chance Z/M, and the number of proposals a draw is
geometric with mean M/Z. M must bound the ratio: where p̃ > M q the kept points would be too few, silently, so a ratio
above 1 is refused. In D dimensions M grows as c^D, which is why nobody rejects images.

Various Techniques Used in Connection with Random Digits (von Neumann, 1951)
Pattern Recognition and Machine Learning (Bishop, 2006), sec. 11.1.2,
https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from reference_models.parts.require import at_least
from reference_models.protocols import Density

__all__ = ["Accepted", "accept", "rejection_sample"]


@dataclass(frozen=True)
class Accepted:
    """Draws of p, shape (n, *event), and what they took.

    proposals: how many were drawn from q; accepted: how many of them were kept, of which the first n are x.
    """

    x: Tensor
    proposals: int
    accepted: int

    @property
    def acceptance_rate(self) -> float:
        """accepted / proposals, an unbiased estimate of Z/M for a number of proposals fixed beforehand."""
        return self.accepted / self.proposals


def accept(log_ratio: Tensor, u: Tensor) -> Tensor:
    """Which proposals are kept: u < e^{log_ratio}, bool (N,); log_ratio = log p̃ − log M − log q, u uniform in [0, 1).

    Raises ValueError for a ratio above 1 (by more than rounding) or NaN: M is no bound.
    """
    worst = float(log_ratio.max()) if len(log_ratio) else -math.inf
    if not worst <= 1e-5:
        raise ValueError(f"M q must bound the target everywhere, got target / (M q) = {math.exp(min(worst, 700)):.6g}")
    return u < log_ratio.exp()


def rejection_sample(
    log_target: Callable[[Tensor], Tensor],
    proposal: Density,
    log_m: float,
    n: int,
    *,
    generator: Generator | None = None,
    batch: int = 1024,
    most: int = 10_000_000,
) -> Accepted:
    """n exact draws of the law proportional to exp(log_target).

    log_target: (N, *event) to log p̃, shape (N,), nats. log_m: log M with p̃ ≤ M q. batch: proposals at a time.
    most: the number of proposals after which to give up with a RuntimeError that says the rate.
    Raises ValueError where M turns out to be no bound.
    """
    at_least("n", n, 1)
    at_least("batch", batch, 1)
    kept: list[Tensor] = []
    accepted = proposals = 0
    with torch.no_grad():
        while accepted < n:
            if proposals >= most:
                raise RuntimeError(f"{accepted} of {proposals} proposals were accepted, too few for {n} draws")
            x = proposal.sample(batch, generator=generator)
            log_ratio = log_target(x) - log_m - proposal.log_prob(x)
            u = torch.rand(log_ratio.shape, generator=generator, dtype=log_ratio.dtype, device=log_ratio.device)
            good = accept(log_ratio, u)
            kept.append(x[good])
            accepted += int(good.sum())
            proposals += batch
    return Accepted(torch.cat(kept)[:n], proposals, accepted)
