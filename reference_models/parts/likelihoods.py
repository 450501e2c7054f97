"""Likelihoods p(x | h) of a decoder's output h: what turns a network into the density of an image given its code.

    Binomial   p(x|h) = Π_i C(n, k_i) σ(h_i)^k_i σ(-h_i)^(n-k_i),  x_i = k_i / n;  n = 1 is Bernoulli
    Gaussian   p(x|h) = N(x; h, σ² I);  σ is one number here, learned unless told
    DiscretisedLogisticMixture   the mass of a mixture of logistics between the edges of the level's bin

The first two are those of Auto-Encoding Variational Bayes (Kingma, Welling, 2014), appendix C,
https://arxiv.org/abs/1312.6114; the last is of PixelCNN++ (Salimans et al., 2017), eq. 2,
https://arxiv.org/abs/1701.05517.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from reference_models.parts.distributions import (
    bernoulli_log_prob,
    discretised_logistic_mixture_log_prob,
    normal_log_prob,
    standard_normal,
)
from reference_models.parts.require import at_least, positive
from reference_models.parts.sampling import draw_categorical
from reference_models.parts.shapes import sum_event


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
        """log p(x | h) in nats: x (N, *event) with values j/trials and logits h of the same shape to (N,).

        Raises ValueError where the shapes differ or a value of x is no multiple of 1/trials in [0, 1].
        """
        _same_shape(x, h)
        k = (x * self.trials).round()
        if not bool(((k >= 0) & (k <= self.trials) & ((x * self.trials - k).abs() < 1e-3)).all()):
            low, high = float(x.min()), float(x.max())
            raise ValueError(f"every pixel must be one of j/{self.trials} in [0, 1], got others in [{low:g}, {high:g}]")
        ways = math.lgamma(self.trials + 1) - torch.lgamma(k + 1) - torch.lgamma(self.trials - k + 1)
        return sum_event(ways + self.trials * bernoulli_log_prob(k / self.trials, h), x.ndim - 1)

    def mean(self, h: Tensor) -> Tensor:
        """E[x | h], the shape of h."""
        return h.sigmoid()

    def sample(self, h: Tensor, *, generator: Generator | None = None) -> Tensor:
        """One x ~ p(x | h) for each row of h."""
        u = torch.rand((self.trials, *h.shape), generator=generator, device=h.device, dtype=h.dtype)
        return (u < h.sigmoid()).to(h.dtype).mean(dim=0)


class Gaussian(nn.Module):
    """p(x | z) = N(x; h, σ² I); σ is one learned number, or fixed when `learned` is false (appendix C.2)."""

    def __init__(self, std: float = 1.0, *, learned: bool = True) -> None:
        super().__init__()
        positive("std", std)
        self.log_std = nn.Parameter(torch.tensor(math.log(std)), requires_grad=learned)

    def log_prob(self, x: Tensor, h: Tensor) -> Tensor:
        """log p(x | h) in nats: x and h of one shape (N, *event) to (N,). Raises ValueError where the shapes differ."""
        _same_shape(x, h)
        return sum_event(normal_log_prob(x, h, self.log_std), x.ndim - 1)

    def mean(self, h: Tensor) -> Tensor:
        """E[x | h], the shape of h."""
        return h

    def sample(self, h: Tensor, *, generator: Generator | None = None) -> Tensor:
        """One x ~ p(x | h) for each row of h."""
        return h + self.log_std.exp() * standard_normal(h.shape, h, generator)


class DiscretisedLogisticMixture(nn.Module):
    """Levels k/(K−1) of K, each a mixture of M logistics gathered in bins; channels independent given h.

    h: (N, 3·M·C, H, W) for x of shape (N, C, H, W): mixture logits, means (on [−1, 1]) and log scales, M·C maps each.
    NOTE: PixelCNN++ lets green depend on red and blue on both; here all three have the code, not one another.
    """

    def __init__(self, levels: int = 256, components: int = 10) -> None:
        super().__init__()
        at_least("levels", levels, 2)
        at_least("components", components, 1)
        self.levels, self.components = levels, components

    def log_prob(self, x: Tensor, h: Tensor) -> Tensor:
        """log P(x | h) in nats: (N, C, H, W) to (N,). Raises ValueError where x is no multiple of 1/(K−1) in [0, 1]."""
        k = (x * (self.levels - 1)).round()
        if not bool(((k >= 0) & (k < self.levels) & ((x * (self.levels - 1) - k).abs() < 1e-3)).all()):
            low, high = float(x.min()), float(x.max())
            raise ValueError(
                f"every value must be one of {self.levels} levels in [0, 1], got others in [{low:g}, {high:g}]"
            )
        if h.shape != (len(x), 3 * self.components * x.shape[1], *x.shape[2:]):
            wanted = f"(N, {3 * self.components * x.shape[1]}, H, W)"
            raise ValueError(
                f"the decoder's output must have shape {wanted}, got {tuple(h.shape)} for {tuple(x.shape)}"
            )
        log_p = discretised_logistic_mixture_log_prob(k.long(), *self._mixture(h), self.levels)  # (N, C, H, W)
        return sum_event(log_p, 3)

    def sample(self, h: Tensor, *, generator: Generator | None = None) -> Tensor:
        """One x ~ P(x | h) for each row of h: a component, a logistic draw, rounded to the nearest level."""
        logits, means, log_scales = self._mixture(h)
        chosen = draw_categorical(logits, generator).unsqueeze(-1)  # (N, C, H, W, 1)
        mean, log_scale = (part.gather(-1, chosen).squeeze(-1) for part in (means, log_scales))
        u = torch.rand(mean.shape, generator=generator, device=h.device, dtype=h.dtype).clamp(1e-6, 1 - 1e-6)
        y = mean + log_scale.exp() * torch.logit(u)
        return ((y.clamp(-1, 1) + 1) / 2 * (self.levels - 1)).round() / (self.levels - 1)

    def _mixture(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, means, log scales, each (N, C, H, W, M)."""
        parts = h.unflatten(1, (3, self.components, -1)).permute(1, 0, 3, 4, 5, 2)  # (3, N, C, H, W, M)
        return parts[0], parts[1], parts[2]


def _same_shape(x: Tensor, h: Tensor) -> None:
    if x.shape != h.shape:
        raise ValueError(f"x and the decoder's output must have one shape, got {tuple(x.shape)} and {tuple(h.shape)}")
