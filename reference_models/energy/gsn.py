"""Generative stochastic network: a Markov chain with hidden layers whose transition is learned by backpropagation.

The denoising chain remembers nothing but its visible state. Here hidden layers are part of the state and carry noise
of their own, so the reconstruction given them is simple even where the one given x̃ alone is not. Odd layers are drawn
given even ones and back, as in a deep Boltzmann machine, but as a computation through which gradients flow:

    h_l = η_out + tanh(η_in + b_l + h_{l-1} W_l + h_{l+1} W_{l+1}ᵀ),   η ~ N(0, σ²),   h_0 = x̃ ~ C(x̃ | x)
    X ~ P(X | h_1) = Bernoulli(σ(b_0 + h_1 W_1ᵀ))
    walkback loss: -1/K Σ_k log P(X = x | h_1^(k)) along K steps of the chain started at the data x

Every step costs the same reconstruction error of the original x, and the gradient passes back through the hidden
states of all earlier steps. The stationary law of X is the model's density; `log_prob` estimates it from below (CSL).

"Deep Generative Stochastic Networks Trainable by Backprop" (Bengio, Thibodeau-Laufer, Alain, Yosinski, 2014),
https://arxiv.org/abs/1306.1091
NOTE: the drawn X between steps is held constant in the gradient, bits having none; the hidden path carries it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from reference_models.energy.markov_chain import BitFlip, log_mean_exp
from reference_models.parts.distributions import bernoulli_log_prob, standard_normal
from reference_models.parts.require import at_least, binary, has_event_shape


@dataclass(frozen=True)
class GSNStep:
    """logits: of X given h_1, (B, dim); hidden: the layers h_1 .. h_L after the step, each (B, width)."""

    logits: Tensor
    hidden: tuple[Tensor, ...]


class GSN(nn.Module):
    """A GSN over {0, 1}^dim with tied weights.

    dim: number of bits. hidden: widths of the layers, one or more. flip: of the visible corruption, in (0, 1).
    noise_std: σ of the noise before and after each tanh; 0 leaves a denoising autoencoder (with one layer).
    noisy_first: whether h_1, the layer X is read from, carries noise too.
    """

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int] = (64, 64),
        flip: float = 0.2,
        noise_std: float = 0.5,
        noisy_first: bool = True,
    ) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("a GSN has at least one hidden layer, got hidden = ()")
        for width in (dim, *hidden):
            at_least("width", width, 1)
        if noise_std < 0:
            raise ValueError(f"noise_std must not be negative, got {noise_std}")
        self.dim, self.hidden = dim, tuple(hidden)
        self.noise_std, self.noisy_first = noise_std, noisy_first
        self.corruption = BitFlip(flip)
        widths = (dim, *hidden)
        self.W = nn.ParameterList(
            nn.Parameter(torch.randn(below, above) / below**0.5) for below, above in pairwise(widths)
        )
        self.b = nn.ParameterList(nn.Parameter(torch.zeros(width)) for width in widths)

    @classmethod
    def mnist(cls) -> GSN:
        """The authors' MNIST run: two layers of 1500, salt-and-pepper 0.4, noise of standard deviation 2 above h_1."""
        return cls(784, (1500, 1500), flip=0.2, noise_std=2.0, noisy_first=False)

    def start(self, n: int) -> tuple[Tensor, ...]:
        """Hidden layers at zero, where every chain begins: each (n, width)."""
        return tuple(self.b[0].new_zeros(n, width) for width in self.hidden)

    def step(self, x: Tensor, hidden: tuple[Tensor, ...], *, generator: Generator | None = None) -> GSNStep:
        """One transition of the hidden layers, odd ones first, and the law of the next X.

        x: zeros and ones, (B, dim), corrupted here. hidden: `start` or the last step's.
        """
        layers = [self.corruption.sample(x, generator=generator), *hidden]
        for first in (1, 2):
            for layer in range(first, len(layers), 2):
                layers[layer] = self._update(layers, layer, generator)
        return GSNStep(self.b[0] + layers[1] @ self.W[0].T, tuple(layers[1:]))

    def walkback(self, x: Tensor, steps: int, *, generator: Generator | None = None) -> Tensor:
        """Logits of X along a chain from x, (steps, B, dim), with gradients through the hidden layers."""
        has_event_shape("x", x, (self.dim,))
        binary("x", x)
        at_least("steps", steps, 1)
        state, hidden, logits = x, self.start(len(x)), []
        for _ in range(steps):
            taken = self.step(state, hidden, generator=generator)
            hidden = taken.hidden
            logits.append(taken.logits)
            state = torch.bernoulli(torch.sigmoid(taken.logits.detach()), generator=generator)
        return torch.stack(logits)

    def loss(self, x: Tensor, *, steps: int = 4, generator: Generator | None = None) -> Tensor:
        """-log P(x | h^(k)) in nats, summed over bits, mean over the batch and the `steps` steps. x: (B, dim)."""
        return -bernoulli_log_prob(x, self.walkback(x, steps, generator=generator)).sum(-1).mean()

    @torch.no_grad()
    def chain(self, n: int, steps: int, *, generator: Generator | None = None) -> Tensor:
        """Logits of X after `steps` steps of n chains from fair coins, (n, dim)."""
        at_least("n", n, 1)
        at_least("steps", steps, 1)
        x = torch.bernoulli(torch.full_like(self.b[0], 0.5).expand(n, -1), generator=generator)
        hidden = self.start(n)
        for _ in range(steps):
            taken = self.step(x, hidden, generator=generator)
            hidden = taken.hidden
            x = torch.bernoulli(torch.sigmoid(taken.logits), generator=generator)
        return taken.logits

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator | None = None, steps: int = 100) -> Tensor:
        """X at the ends of n chains, zeros and ones, (n, dim): draws of the stationary law only as steps grow."""
        return torch.bernoulli(torch.sigmoid(self.chain(n, steps, generator=generator)), generator=generator)

    @torch.no_grad()
    def log_prob(
        self, x: Tensor, *, samples: int = 1000, steps: int = 100, generator: Generator | None = None
    ) -> Tensor:
        """The conservative estimate of log p(x) in nats, too low on average. x: (*B, dim). Returns (*B,).

        samples: number of chains, each used once after `steps` steps.
        """
        has_event_shape("x", x, (self.dim,))
        binary("x", x)
        logits = self.chain(samples, steps, generator=generator)
        return log_mean_exp(bernoulli_log_prob(x[..., None, :], logits).sum(-1))  # (*B, S) inside

    def _update(self, layers: list[Tensor], layer: int, generator: Generator | None) -> Tensor:
        """The new h_l given the layers around it, with noise before and after the tanh."""
        a: Tensor = self.b[layer] + layers[layer - 1] @ self.W[layer - 1]
        if layer + 1 < len(layers):
            a = a + layers[layer + 1] @ self.W[layer].T
        if layer == 1 and not self.noisy_first:
            return torch.tanh(a)
        inner, outer = (self.noise_std * standard_normal(a.shape, a, generator) for _ in range(2))
        return outer + torch.tanh(a + inner)
