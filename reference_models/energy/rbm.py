"""Restricted Boltzmann machine: visible and hidden binary units, and couplings only between the two kinds.

Given one layer the units of the other are independent, so Gibbs sampling swaps whole layers, and the hidden units sum
out in closed form:

    E(v, h) = -a·v - b·h - vᵀ W h,        p(v, h) = exp(-E) / Z
    p(h_j = 1 | v) = σ(b_j + (vᵀW)_j),    p(v_i = 1 | h) = σ(a_i + (W h)_i)
    F(v) = -a·v - Σ_j log(1 + exp(b_j + (vᵀW)_j)),          log p(v) = -F(v) - log Z
    ∂ log p(v)/∂W = v E[h | v]ᵀ - E_model[v hᵀ]             (positive minus negative phase)

Contrastive divergence takes the negative phase after k Gibbs swaps from the data, the persistent form from chains that
outlive the update. With one small layer Z is a sum over that layer alone; for larger machines annealed importance
sampling estimates it.

"Training Products of Experts by Minimizing Contrastive Divergence" (Hinton, 2002),
https://www.cs.toronto.edu/~hinton/absps/nccd.pdf
"Training Restricted Boltzmann Machines using Approximations to the Likelihood Gradient" (Tieleman, 2008),
https://www.cs.toronto.edu/~tijmen/pcd/pcd.pdf
"On the Quantitative Analysis of Deep Belief Networks" (Salakhutdinov, Murray, 2008), on partition functions of RBMs,
https://homepages.inf.ed.ac.uk/imurray2/pub/08dbn_ais/
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from reference_models.parts.enumeration import MOST_UNITS, binary_states, binary_states_in_chunks
from reference_models.parts.require import at_least, binary, has_event_shape, within


@dataclass(frozen=True)
class Phase:
    """A statistic for each parameter: W (visible, hidden), a (visible,), b (hidden,)."""

    W: Tensor
    a: Tensor
    b: Tensor

    def __sub__(self, other: Phase) -> Phase:
        return Phase(self.W - other.W, self.a - other.a, self.b - other.b)


@dataclass(frozen=True)
class LogPartition:
    """An estimate of log Z in nats; log_low and log_high hold log(Ẑ ∓ 3 standard errors), log_low may be -inf."""

    value: Tensor
    log_low: Tensor
    log_high: Tensor


class RBM(nn.Module):
    """Bernoulli-Bernoulli restricted Boltzmann machine.

    visible, hidden: numbers of units, at least 1. init_std: of the couplings at the start, as in A Practical Guide to
        Training Restricted Boltzmann Machines (Hinton, 2010), section 8.
    """

    def __init__(self, visible: int, hidden: int, init_std: float = 0.01) -> None:
        super().__init__()
        at_least("visible", visible, 1)
        at_least("hidden", hidden, 1)
        self.visible, self.hidden = visible, hidden
        self.W = nn.Parameter(init_std * torch.randn(visible, hidden))
        self.a = nn.Parameter(torch.zeros(visible))
        self.b = nn.Parameter(torch.zeros(hidden))

    @classmethod
    def mnist(cls) -> RBM:
        """The machine of Salakhutdinov and Murray on binary MNIST: 784 visible, 500 hidden units."""
        return cls(784, 500)

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h). v: (*B, visible) and h: (*B, hidden), zeros and ones. Returns (*B,), nats."""
        return -v @ self.a - h @ self.b - torch.einsum("...i,ij,...j->...", v, self.W, h)

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = -log Σ_h exp(-E(v, h)). v: (*B, visible). Returns (*B,), nats."""
        has_event_shape("v", v, (self.visible,))
        return -v @ self.a - F.softplus(self.b + v @ self.W).sum(-1)

    def hidden_mean(self, v: Tensor) -> Tensor:
        """p(h_j = 1 | v), shape (*B, hidden)."""
        return torch.sigmoid(self.b + v @ self.W)

    def visible_mean(self, h: Tensor) -> Tensor:
        """p(v_i = 1 | h), shape (*B, visible)."""
        return torch.sigmoid(self.a + h @ self.W.T)

    def log_partition(self) -> Tensor:
        """log Z by the states of the smaller layer, the larger summed out; a scalar with gradients.

        Raises ValueError when both layers have more than 22 units.
        """
        if self.hidden <= self.visible:
            bias, other_bias, W = self.b, self.a, self.W.T
        else:
            bias, other_bias, W = self.a, self.b, self.W
        if len(bias) > MOST_UNITS:
            raise ValueError(
                f"log Z needs a layer of at most {MOST_UNITS} units, got {self.visible} visible, {self.hidden} hidden"
            )
        sums = [
            torch.logsumexp(s @ bias + F.softplus(other_bias + s @ W).sum(-1), dim=0)
            for s in binary_states_in_chunks(len(bias), self)
        ]
        return torch.logsumexp(torch.stack(sums), dim=0)

    def log_prob(self, v: Tensor) -> Tensor:
        """Exact log p(v) in nats; v: (*B, visible) zeros and ones. Returns (*B,). Refused where log Z is."""
        binary("v", v)
        return -self.free_energy(v) - self.log_partition()

    def statistics(self, v: Tensor) -> Phase:
        """Means over the batch of v E[h|v]ᵀ, v and E[h|v]: one phase of the gradient.

        v: (B, visible), zeros and ones, or grey levels in [0, 1] taken as their means. Raises ValueError for others.
        """
        within("v", v, 0, 1)
        h = self.hidden_mean(v)
        return Phase(v.T @ h / len(v), v.mean(0), h.mean(0))

    def model_statistics(self) -> Phase:
        """The negative phase exactly, by all states of the visible layer (at most 22 units)."""
        v = binary_states(self.visible, self)
        p = torch.softmax(-self.free_energy(v), dim=0)[:, None]  # (2^visible, 1)
        h = self.hidden_mean(v)
        return Phase((p * v).T @ h, (p * v).sum(0), (p * h).sum(0))

    @torch.no_grad()
    def gibbs(self, v: Tensor, steps: int = 1, *, generator: Generator | None = None) -> Tensor:
        """`steps` swaps v -> h -> v, each layer drawn from its conditional. v: (B, visible). Returns (B, visible)."""
        at_least("steps", steps, 0)
        for _ in range(steps):
            h = torch.bernoulli(self.hidden_mean(v), generator=generator)
            v = torch.bernoulli(self.visible_mean(h), generator=generator)
        return v

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator | None = None, burn_in: int = 1000) -> Tensor:
        """n visible vectors, shape (n, visible).

        With at most 16 hidden units the hidden layer is drawn from its exact law and the visible given it; beyond, n
        Gibbs chains take `burn_in` swaps from fair coins.
        """
        at_least("n", n, 1)
        if self.hidden <= 16:
            h = binary_states(self.hidden, self)
            log_weights = h @ self.b + F.softplus(self.a + h @ self.W.T).sum(-1)
            rows = torch.multinomial(torch.softmax(log_weights, dim=0), n, replacement=True, generator=generator)
            return torch.bernoulli(self.visible_mean(h[rows]), generator=generator)
        coins = torch.bernoulli(torch.full_like(self.a, 0.5).expand(n, -1), generator=generator)
        return self.gibbs(coins, burn_in, generator=generator)


def contrastive_divergence(rbm: RBM, v: Tensor, k: int = 1, *, generator: Generator | None = None) -> Phase:
    """CD-k: the direction in which to move the parameters (up the likelihood), batch mean.

    v: data, (B, visible). k: swaps from the data, at least 1. Biased for every k; unbiased as k grows.
    """
    at_least("k", k, 1)
    return rbm.statistics(v) - rbm.statistics(rbm.gibbs(v, k, generator=generator))


def contrastive_loss(rbm: RBM, v: Tensor, v_model: Tensor) -> Tensor:
    """mean F(v) - mean F(v_model): a scalar whose gradient is minus the phases' difference, for any optimiser.

    v: data in [0, 1], (B, visible). v_model: samples of the model, (M, visible), held constant.
    """
    within("v", v, 0, 1)
    return rbm.free_energy(v).mean() - rbm.free_energy(v_model.detach()).mean()


@torch.no_grad()
def annealed_log_partition(
    rbm: RBM, chains: int = 100, temperatures: int = 1000, *, generator: Generator | None = None
) -> LogPartition:
    """log Z by annealed importance sampling: from independent units (β = 0) to the machine (β = 1).

    On the way p_β(v) ∝ exp(a·v) Π_j (1 + exp(β (b_j + (vᵀW)_j))), with Z_0 = 2^hidden Π_i (1 + exp a_i) known.
    chains: independent runs. temperatures: steps of β, equally spaced. Each run's weight is unbiased for Z / Z_0.
    """
    at_least("chains", chains, 2)
    at_least("temperatures", temperatures, 1)
    betas = torch.linspace(0, 1, temperatures + 1).tolist()
    v = torch.bernoulli(torch.sigmoid(rbm.a).expand(chains, -1), generator=generator)
    log_w = torch.zeros_like(v[:, 0])
    for previous, beta in pairwise(betas):
        field = rbm.b + v @ rbm.W
        log_w += F.softplus(beta * field).sum(-1) - F.softplus(previous * field).sum(-1)
        h = torch.bernoulli(torch.sigmoid(beta * field), generator=generator)
        v = torch.bernoulli(rbm.visible_mean(beta * h), generator=generator)
    log_z0 = rbm.hidden * math.log(2) + F.softplus(rbm.a).sum()
    shift = log_w.max()
    w = (log_w - shift).exp()
    error = 3 * w.std() / math.sqrt(chains)
    value, low, high = (log_z0 + shift + s.log() for s in (w.mean(), (w.mean() - error).clamp(min=0), w.mean() + error))
    return LogPartition(value, low, high)
