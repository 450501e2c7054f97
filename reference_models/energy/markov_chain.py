"""Markov-chain density model: a denoiser, and the law its chain settles in.

Corrupt a point, draw a clean one from what could have been corrupted so, repeat. Learning the second step is ordinary
supervised learning, and the chain's stationary law is the model's density: nobody writes it down, yet if the learned
step is the true posterior, it is the law of the data.

    x̃_t ~ C(x̃ | x_t),    x_{t+1} ~ P_θ(x | x̃_t),     T(x' | x) = Σ_x̃ C(x̃ | x) P_θ(x' | x̃),     π = π T
    loss     -log P_θ(x | x̃)
    walkback -log P_θ(x | x̃_k) along a chain x = x_0, x̃_0, x_1, x̃_1, .. of the model: what pulls strays back
    CSL      log p̂(x) = log 1/S Σ_s P_θ(x | x̃_s),    x̃_s from the chain;  E log p̂(x) <= log π(x)

With few binary units T is a matrix, and π solves a linear system: `stationary` is the oracle of the rest.

"Generalized Denoising Auto-Encoders as Generative Models" (Bengio, Yao, Alain, Vincent, 2013), theorem 1, walkback,
https://arxiv.org/abs/1305.6663
"Bounding the Test Log-Likelihood of Generative Models" (Bengio, Yao, Cho, 2013) for CSL,
https://arxiv.org/abs/1311.6184
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from reference_models.parts.distributions import bernoulli_log_prob
from reference_models.parts.enumeration import binary_states, state_index
from reference_models.parts.networks import MLP
from reference_models.parts.require import at_least, binary, has_event_shape, within

MOST_STATES_UNITS = 10  # a transition matrix of 1024 x 1024


class BitFlip(nn.Module):
    """C(x̃ | x): each bit is turned over with probability `flip`, independently.

    flip: in (0, 1). NOTE: salt-and-pepper noise of amount p, which replaces bits by fair coins, is flip = p/2.
    """

    def __init__(self, flip: float = 0.2) -> None:
        super().__init__()
        within("flip", flip, 0, 1, "()")
        self.flip = flip

    def sample(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """x̃ for each x, zeros and ones of any shape."""
        turned = torch.bernoulli(torch.full_like(x, self.flip), generator=generator)
        return (x - turned).abs()

    def log_prob(self, x_tilde: Tensor, x: Tensor) -> Tensor:
        """log C(x̃ | x) in nats, summed over the last dimension. x_tilde, x: (*B, D). Returns (*B,)."""
        turned = (x_tilde - x).abs()
        return (turned * math.log(self.flip) + (1 - turned) * math.log1p(-self.flip)).sum(-1)


class Reconstruction(Protocol):
    """P_θ(x | x̃): any law of clean points given corrupted ones."""

    def log_prob(self, x: Tensor, x_tilde: Tensor) -> Tensor:
        """log P(x | x̃), nats. x, x_tilde: (*B, D), broadcast against each other. Returns (*B,)."""
        ...

    def sample(self, x_tilde: Tensor, *, generator: Generator | None = None) -> Tensor:
        """One x for each x̃, shape (*B, D)."""
        ...


class BernoulliReconstruction(nn.Module):
    """Independent bits given x̃, their logits by a network. NOTE: exact only where the posterior factorises."""

    def __init__(self, dim: int, hidden: Sequence[int] = (64,)) -> None:
        super().__init__()
        self.net = MLP(dim, hidden, dim)

    def log_prob(self, x: Tensor, x_tilde: Tensor) -> Tensor:
        logits: Tensor = self.net(x_tilde)
        return bernoulli_log_prob(x, logits).sum(-1)

    def sample(self, x_tilde: Tensor, *, generator: Generator | None = None) -> Tensor:
        return torch.bernoulli(torch.sigmoid(self.net(x_tilde)), generator=generator)


class DenoisingChain(nn.Module):
    """The density over {0, 1}^dim that is stationary under corruption and reconstruction.

    dim: number of bits. reconstruction: P_θ, by default `BernoulliReconstruction`. corruption: C.
    """

    def __init__(
        self, dim: int, reconstruction: Reconstruction | None = None, corruption: BitFlip | None = None
    ) -> None:
        super().__init__()
        at_least("dim", dim, 1)
        self.dim = dim
        self.reconstruction: Reconstruction = BernoulliReconstruction(dim) if reconstruction is None else reconstruction
        self.corruption = BitFlip() if corruption is None else corruption

    def loss(self, x: Tensor, *, walkback: int = 1, generator: Generator | None = None) -> Tensor:
        """-log P(x | x̃_k), mean over batch and k < walkback; walkback = 1 is plain denoising. x: (B, dim). Nats."""
        has_event_shape("x", x, (self.dim,))
        binary("x", x)
        at_least("walkback", walkback, 1)
        state, total = x, x.new_zeros(())
        for k in range(walkback):
            x_tilde = self.corruption.sample(state, generator=generator)
            total = total - self.reconstruction.log_prob(x, x_tilde).mean()
            if k + 1 < walkback:
                with torch.no_grad():
                    state = self.reconstruction.sample(x_tilde, generator=generator)
        return total / walkback

    @torch.no_grad()
    def step(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """x_{t+1} given x_t, each (B, dim)."""
        return self.reconstruction.sample(self.corruption.sample(x, generator=generator), generator=generator)

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator | None = None, steps: int = 100) -> Tensor:
        """The ends of n chains of `steps` steps from fair coins, (n, dim): draws from π only as steps grow."""
        at_least("n", n, 1)
        like = next(self.parameters(), torch.empty(0))
        x = torch.full((n, self.dim), 0.5, device=like.device, dtype=like.dtype)
        x = torch.bernoulli(x, generator=generator)
        for _ in range(steps):
            x = self.step(x, generator=generator)
        return x

    @torch.no_grad()
    def log_prob(
        self, x: Tensor, *, samples: int = 1000, steps: int = 100, generator: Generator | None = None
    ) -> Tensor:
        """The conservative estimate of log π(x) in nats, too low on average. x: (*B, dim). Returns (*B,).

        samples: number S of chains, each used once after `steps` steps.
        """
        has_event_shape("x", x, (self.dim,))
        binary("x", x)
        x_tilde = self.corruption.sample(self.sample(samples, generator=generator, steps=steps), generator=generator)
        return log_mean_exp(self.reconstruction.log_prob(x[..., None, :], x_tilde))  # (*B, S) inside

    def transition_matrix(self) -> Tensor:
        """T with T[i, j] the chance of state j after state i, (2^dim, 2^dim), rows of `binary_states`.

        Raises ValueError beyond 10 bits.
        """
        if self.dim > MOST_STATES_UNITS:
            raise ValueError(f"a transition matrix is made for at most {MOST_STATES_UNITS} bits, got dim = {self.dim}")
        states = binary_states(self.dim, next(self.parameters(), torch.empty(0)))
        corrupt = self.corruption.log_prob(states, states[:, None]).exp()  # (from x, to x̃)
        restore = self.reconstruction.log_prob(states, states[:, None]).exp()  # (from x̃, to x')
        return corrupt @ restore

    def stationary(self) -> Tensor:
        """π over the rows of `binary_states`, (2^dim,)."""
        return stationary_law(self.transition_matrix())

    def exact_log_prob(self, x: Tensor) -> Tensor:
        """log π(x) in nats from the transition matrix. x: (*B, dim). Returns (*B,)."""
        has_event_shape("x", x, (self.dim,))
        return self.stationary()[state_index(x)].log()


def stationary_law(T: Tensor) -> Tensor:
    """The law π with π = π T and sum one, for a chain that has only one.

    T: transition matrix, rows sum to one, (S, S). Returns (S,). Raises ValueError for other matrices.
    """
    if T.ndim != 2 or T.shape[0] != T.shape[1]:
        raise ValueError(f"a transition matrix is square, got shape {tuple(T.shape)}")
    sums = T.sum(1)
    if (T < 0).any() or not torch.allclose(sums, torch.ones_like(sums), atol=1e-4):
        raise ValueError(f"rows of a transition matrix are laws, got sums in [{sums.min():.4g}, {sums.max():.4g}]")
    exact = T.double() / T.double().sum(1, keepdim=True)
    one = exact.new_ones(len(T))
    # π (I - T) = 0 has one equation too many; adding π·1 = 1 to each of them makes the system regular.
    pi: Tensor = torch.linalg.solve((torch.diag(one) - exact).T + 1.0, one)
    pi = pi.clamp(min=0) @ exact  # a rare state is reached from others: rounding leaves it neither zero nor below
    return pi.to(T.dtype)


def log_mean_exp(log_values: Tensor) -> Tensor:
    """log of the mean of exp over the last dimension: CSL's average of conditionals. (*B, S) -> (*B,)."""
    return torch.logsumexp(log_values, dim=-1) - math.log(log_values.shape[-1])
