"""Likelihoods p(x | h) of a decoder's output h: what turns a network into the density of an image given its code.

    Binomial   p(x|h) = Π_i C(n, k_i) σ(h_i)^k_i σ(-h_i)^(n-k_i),  x_i = k_i / n;  n = 1 is Bernoulli
    Gaussian   p(x|h) = N(x; h, σ² I)

Both are those of Auto-Encoding Variational Bayes (Kingma, Welling, 2014), appendix C, https://arxiv.org/abs/1312.6114;
a Gaussian's σ is one number here, learned unless told.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from reference_models.parts.distributions import bernoulli_log_prob, normal_log_prob, standard_normal
from reference_models.parts.shapes import sum_event
from reference_models.parts.validate import at_least, positive


class Likelihood(Protocol):
    """p(x | h), h being the decoder's output for each of N examples, in whatever shape the likelihood wants."""

    def log_prob(self, x: Tensor, h: Tensor) -> Tensor:
        """log p(x | h) in nats, summed over the event: x (N, *event), h (N, ...) to (N,)."""
        ...

    def sample(self, h: Tensor, *, generator: Generator | None = None) -> Tensor:
        """One x ~ p(x | h) for each row of h, shape (N, *event)."""
        ...


class Binomial(nn.Module):
    """Each pixel is a count out of `trials`, written as a float j/trials; the decoder gives its logit.

    One trial is the Bernoulli likelihood of binary images (appendix C.1); sixteen fit the 17 levels of the digits.
    """

    def __init__(self, trials: int = 1) -> None:
        super().__init__()
        at_least("trials", trials, 1)
        self.trials = trials

    def log_prob(self, x: Tensor, h: Tensor) -> Tensor:
        """Returns log p(x | h) in nats; x: (N, *event) with values j/trials; h: logits of x's shape -> (N,).

        Raises:
            ValueError: a value of x is no multiple of 1/trials in [0, 1].
        """
        k = (x * self.trials).round()
        if not bool(((k >= 0) & (k <= self.trials) & ((x * self.trials - k).abs() < 1e-3)).all()):
            low, high = float(x.min()), float(x.max())
            raise ValueError(f"every pixel must be one of j/{self.trials} in [0, 1], got others in [{low:g}, {high:g}]")
        ways = math.lgamma(self.trials + 1) - torch.lgamma(k + 1) - torch.lgamma(self.trials - k + 1)
        return sum_event(ways + self.trials * bernoulli_log_prob(k / self.trials, h), x.ndim - 1)

    def mean(self, h: Tensor) -> Tensor:
        """Returns E[x | h], the shape of h."""
        return h.sigmoid()

    def sample(self, h: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Returns one x ~ p(x | h) for each row of h."""
        u = torch.rand((self.trials, *h.shape), generator=generator, device=h.device, dtype=h.dtype)
        return (u < h.sigmoid()).to(h.dtype).mean(dim=0)


class Gaussian(nn.Module):
    """p(x | z) = N(x; h, sigma^2 I); sigma is one learned number, or fixed when `learned` is false (appendix C.2)."""

    def __init__(self, std: float = 1.0, *, learned: bool = True) -> None:
        super().__init__()
        positive("std", std)
        self.log_std = nn.Parameter(torch.tensor(math.log(std)), requires_grad=learned)

    def log_prob(self, x: Tensor, h: Tensor) -> Tensor:
        """Returns log p(x | h) in nats; x, h: (N, *event) -> (N,)."""
        return sum_event(normal_log_prob(x, h, self.log_std), x.ndim - 1)

    def mean(self, h: Tensor) -> Tensor:
        """Returns E[x | h], the shape of h."""
        return h

    def sample(self, h: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Returns one x ~ p(x | h) for each row of h."""
        return h + self.log_std.exp() * standard_normal(h.shape, h, generator)
