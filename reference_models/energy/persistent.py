"""Persistent chains: the sampler of an energy model goes on where the last update of the model left it.

The likelihood's gradient needs samples of the model at every update. A chain begun at the data has no time to leave it
(contrastive divergence, biased), one begun at noise has no time to arrive. But an update moves the model only a little,
so the states that were its samples before are nearly its samples after, and a few steps repair the difference:

    x^(t+1) ~ K_θ(t)(· | x^(t)),          K_θ keeps p_θ:  ∫ p_θ(x) K_θ(x' | x) dx = p_θ(x')

With learning rates falling like 1/t this is stochastic approximation, and its limit is a stationary point of the
likelihood. Du and Mordatch keep far more chains than a batch takes and restart a twentieth of those they draw, by
which new modes are found.

"Training Restricted Boltzmann Machines using Approximations to the Likelihood Gradient" (Tieleman, 2008),
https://www.cs.toronto.edu/~tijmen/pcd/pcd.pdf
"Implicit Generation and Modeling with Energy-Based Models" (Du, Mordatch, 2019), sample replay buffer,
https://arxiv.org/abs/1903.08689
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from reference_models.parts.require import at_least


class PersistentChains(nn.Module):
    """A buffer of chains that outlives the updates of the model; some restart at every draw.

    start: (n, generator) -> n fresh points, shape (n, *event).
    capacity: how many chains are kept (10 000 in the paper). restart: share of a batch begun anew (0.05 there).
    """

    states: Tensor

    def __init__(
        self,
        start: Callable[[int, Generator | None], Tensor],
        capacity: int = 1000,
        restart: float = 0.05,
        *,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        at_least("capacity", capacity, 1)
        if not 0 <= restart <= 1:
            raise ValueError(f"restart is a share in [0, 1], got {restart}")
        self.start, self.restart = start, restart
        self.register_buffer("states", start(capacity, generator))

    @torch.no_grad()
    def advance(self, n: int, walk: Callable[[Tensor], Tensor], *, generator: Generator | None = None) -> Tensor:
        """Picks n different chains, restarts some, walks them on and keeps where they end.

        n: at most the capacity. walk: n states -> n states, a few steps that keep the model (`langevin`).

        Returns the new states, shape (n, *event): the model's batch of `contrastive_loss`.
        """
        if not 1 <= n <= len(self.states):
            raise ValueError(f"between 1 and {len(self.states)} chains can be advanced at once, got {n}")
        device = self.states.device
        chosen = torch.randperm(len(self.states), generator=generator, device=device)[:n]
        again = torch.rand(n, generator=generator, device=device) < self.restart
        again = again.reshape(-1, *[1] * (self.states.ndim - 1))  # (n, 1, ..)
        x = walk(torch.where(again, self.start(n, generator), self.states[chosen]))
        self.states[chosen] = x
        return x
