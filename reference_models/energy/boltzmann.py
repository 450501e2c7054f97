"""General Boltzmann machine: binary units, every pair coupled, some of them hidden.

Each unit in turn is drawn given all others; the visits leave the Boltzmann law in place. Learning raises the
couplings of units that agree when the data hold the visible ones and lowers those of units that agree in free running:

    E(s) = -Σ_{i<j} W_ij s_i s_j - Σ_i b_i s_i,       W = Wᵀ,  W_ii = 0
    p(s_i = 1 | s_-i) = σ(Σ_j W_ij s_j + b_i)
    ∂ log p(v)/∂W_ij = E[s_i s_j | v] - E[s_i s_j]    (clamped minus free)

Nothing factorises, so both phases cost a chain. A restricted machine is the case where W joins visible with hidden
units only. Up to 22 units all states are summed, which gives the exact likelihood and gradient.

"A Learning Algorithm for Boltzmann Machines" (Ackley, Hinton, Sejnowski, 1985),
https://www.cs.toronto.edu/~hinton/absps/cogscibm.pdf
NOTE: there a unit turned on *lowers* energy by its input less a threshold θ; here b = -θ, and the temperature is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from reference_models.parts.enumeration import MOST_UNITS, binary_states, binary_states_in_chunks
from reference_models.parts.require import at_least, binary, has_event_shape


@dataclass(frozen=True)
class Statistics:
    """pairs: means of s_i s_j, i < j, in the order of `torch.triu_indices`, (U(U-1)/2,); units: means of s_i, (U,)."""

    pairs: Tensor
    units: Tensor

    def __sub__(self, other: Statistics) -> Statistics:
        return Statistics(self.pairs - other.pairs, self.units - other.units)


class BoltzmannMachine(nn.Module):
    """A Boltzmann machine over `visible` observed units, which come first, and `hidden` others.

    visible: at least 1. hidden: 0 for a fully visible machine.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, visible: int, hidden: int = 0, init_std: float = 0.01) -> None:
        super().__init__()
        at_least("visible", visible, 1)
        at_least("hidden", hidden, 0)
        self.visible, self.hidden, self.units = visible, hidden, visible + hidden
        rows, columns = torch.triu_indices(self.units, self.units, offset=1)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        self.couplings = nn.Parameter(init_std * torch.randn(len(rows)))  # W_ij for i < j
        self.b = nn.Parameter(torch.zeros(self.units))

    @property
    def W(self) -> Tensor:  # noqa: N802  (the paper's letter)
        """The symmetric couplings with zero diagonal, shape (units, units)."""
        upper = self.couplings.new_zeros(self.units, self.units)
        upper = upper.index_put((self.rows, self.columns), self.couplings)
        return upper + upper.T

    def energy(self, s: Tensor) -> Tensor:
        """E(s). s: all units, zeros and ones, (*B, units). Returns (*B,), nats."""
        has_event_shape("s", s, (self.units,))
        return -0.5 * torch.einsum("...i,ij,...j->...", s, self.W, s) - s @ self.b

    def conditional(self, s: Tensor, i: int) -> Tensor:
        """p(s_i = 1 | the other units of s), which does not read s_i. s: (*B, units). Returns (*B,)."""
        return torch.sigmoid(s @ self.W[i] + self.b[i])

    @torch.no_grad()
    def sweep(self, s: Tensor, free: Sequence[int], *, generator: Generator | None = None) -> Tensor:
        """Draws the units in `free` one after the other, each given all others as they then stand.

        s: (B, units), left as it was. Returns (B, units).
        """
        s, W = s.clone(), self.W
        for i in free:
            s[:, i] = torch.bernoulli(torch.sigmoid(s @ W[i] + self.b[i]), generator=generator)
        return s

    def log_partition(self) -> Tensor:
        """log Z by all 2^units states, a scalar with gradients. Raises ValueError beyond 22 units."""
        self._refuse_large()
        sums = [torch.logsumexp(-self.energy(s), dim=0) for s in binary_states_in_chunks(self.units, self)]
        return torch.logsumexp(torch.stack(sums), dim=0)

    def completions(self, v: Tensor) -> Tensor:
        """Each visible vector with every state of the hidden units. v: (*B, visible). Returns (*B, 2^hidden, units)."""
        has_event_shape("v", v, (self.visible,))
        binary("v", v)
        if self.hidden == 0:
            return v[..., None, :]
        h = binary_states(self.hidden, self)
        h = h.expand(*v.shape[:-1], *h.shape)
        return torch.cat([v[..., None, :].expand(*h.shape[:-1], -1), h], dim=-1)

    def log_prob(self, v: Tensor) -> Tensor:
        """Exact log p(v) in nats, hidden units summed out. v: (*B, visible). Returns (*B,). Up to 22 units."""
        states = self.completions(v)
        energies = self.energy(states.reshape(-1, self.units)).reshape(states.shape[:-1])  # (*B, 2^hidden)
        return torch.logsumexp(-energies, dim=-1) - self.log_partition()

    def statistics(self, s: Tensor, weights: Tensor | None = None) -> Statistics:
        """Means of s_i s_j and s_i over rows of s, (B, units), by weights (B,) that sum to one, else equal ones."""
        if s.ndim != 2 or len(s) == 0 or s.shape[1] != self.units:
            raise ValueError(f"s must have shape (B, {self.units}), got {tuple(s.shape)}")
        w = s.new_full((len(s),), 1 / len(s)) if weights is None else weights
        moments = (w[:, None] * s).T @ s  # (units, units)
        return Statistics(moments[self.rows, self.columns], w @ s)

    def exact_gradient(self, v: Tensor) -> Statistics:
        """The gradient of mean log p(v), both phases summed exactly. v: (B, visible). Up to 22 units."""
        self._refuse_large()
        states = self.completions(v)  # (B, 2^hidden, units)
        flat = states.reshape(-1, self.units)
        posterior = torch.softmax(-self.energy(flat).reshape(states.shape[:-1]), dim=-1) / len(v)
        everything = binary_states(self.units, self)
        law = torch.softmax(-self.energy(everything), dim=0)
        return self.statistics(flat, posterior.reshape(-1)) - self.statistics(everything, law)

    @torch.no_grad()
    def clamped(self, v: Tensor, sweeps: int = 10, *, generator: Generator | None = None) -> Tensor:
        """The positive phase: visible units held at v, hidden ones swept from fair coins. Returns (B, units)."""
        has_event_shape("v", v, (self.visible,))
        binary("v", v)
        h = torch.bernoulli(v.new_full((len(v), self.hidden), 0.5), generator=generator)
        s = torch.cat([v, h], dim=-1)
        for _ in range(sweeps if self.hidden else 0):
            s = self.sweep(s, range(self.visible, self.units), generator=generator)
        return s

    @torch.no_grad()
    def run(self, s: Tensor, sweeps: int = 1, *, generator: Generator | None = None) -> Tensor:
        """The negative phase: `sweeps` visits of every unit from states s, (B, units). Returns (B, units)."""
        for _ in range(sweeps):
            s = self.sweep(s, range(self.units), generator=generator)
        return s

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator | None = None, burn_in: int = 500) -> Tensor:
        """n visible vectors, (n, visible): the exact law up to 14 units, else chains of `burn_in` sweeps from coins."""
        at_least("n", n, 1)
        if self.units <= 14:
            states = binary_states(self.units, self)
            law = torch.softmax(-self.energy(states), dim=0)
            return states[torch.multinomial(law, n, replacement=True, generator=generator), : self.visible]
        coins = torch.bernoulli(torch.full_like(self.b, 0.5).expand(n, -1), generator=generator)
        return self.run(coins, burn_in, generator=generator)[:, : self.visible]

    def _refuse_large(self) -> None:
        if self.units > MOST_UNITS:
            raise ValueError(f"all states are summed up to {MOST_UNITS} units, got {self.units}")


def contrastive_loss(machine: BoltzmannMachine, clamped: Tensor, free: Tensor) -> Tensor:
    """mean E(clamped) - mean E(free): a scalar whose gradient is minus the phases' difference.

    clamped: states with the data on the visible units, (B, units). free: states of the free chains, (M, units).
    """
    return machine.energy(clamped.detach()).mean() - machine.energy(free.detach()).mean()
