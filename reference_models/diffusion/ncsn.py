"""NCSN: one network for the scores of the data at many noise levels, sampled by Langevin steps from coarse to fine.

    ℓ(σ)  = ½ E |s(x̃, σ) + (x̃ − x)/σ²|²,  x̃ = x + σ ε                                         (eq. 5)
    L     = 1/L Σ_i σ_i² ℓ(σ_i)              weights that make all levels count the same       (eq. 6)

Annealed Langevin dynamics (algorithm 1): for σ_1 > … > σ_L, with α_i = ε σ_i²/σ_L², repeat

    x ← x + α_i/2 s(x, σ_i) + √α_i z,   z ~ N(0, I)

"Generative Modeling by Estimating Gradients of the Data Distribution" (Song, Ermon, 2019),
https://arxiv.org/abs/1907.05600

NOTE: s = f/σ, as "Improved Techniques for Training Score-Based Generative Models" (Song, Ermon, 2020), technique 3,
https://arxiv.org/abs/2006.09011, and f is told the level's index. Chains start from N(0, σ_1² I), near p_{σ_1}, where
the paper's start from a uniform law. f is any network; that of the paper, a RefineNet with dilated convolutions and
instance normalisation that depends on the level, is not written here: the U-Net of `parts` takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reference_models.parts.distributions import standard_normal
from reference_models.parts.require import at_least, has_event_shape, has_shape, positive
from reference_models.parts.shapes import sum_event
from reference_models.parts.training import evaluating


def geometric_sigmas(largest: float, smallest: float, levels: int) -> Tensor:
    """A geometric sequence of noise levels, decreasing, (L,). Raises ValueError unless largest > smallest > 0."""
    positive("smallest", smallest)
    at_least("levels", levels, 2)
    if not largest > smallest:
        raise ValueError(f"largest must exceed smallest, got {largest} and {smallest}")
    return torch.logspace(math.log10(largest), math.log10(smallest), levels, dtype=torch.get_default_dtype())


class NCSN(nn.Module):
    """A noise-conditional score network.

    network: f(x, level) with x (N, *event), level long (N,), of x's shape
    sigmas: (L,), positive and strictly decreasing, of which `level` is the index
    """

    sigmas: Tensor

    def __init__(self, network: nn.Module, sigmas: Tensor, event_shape: Sequence[int]) -> None:
        super().__init__()
        positive("sigma", sigmas)
        if sigmas.ndim != 1 or not bool((sigmas[1:] < sigmas[:-1]).all()):
            raise ValueError(f"sigmas must be one strictly decreasing sequence, got {sigmas.tolist()}")
        self.network = network
        self.event_shape = tuple(event_shape)
        self.register_buffer("sigmas", sigmas)

    def _check(self, level: Tensor) -> None:
        if not bool(((level >= 0) & (level < len(self.sigmas))).all()):
            raise ValueError(f"level must lie in 0..{len(self.sigmas) - 1}, got {level.tolist()}")

    def _sigma(self, level: Tensor, x: Tensor) -> Tensor:
        """σ of the level, (*B,) or a scalar, shaped to broadcast against x."""
        sigma = self.sigmas[level].to(x.dtype)
        return sigma.reshape(sigma.shape + (1,) * (x.ndim - sigma.ndim))

    def score(self, x: Tensor, level: Tensor) -> Tensor:
        """The score of the data with noise σ_level, at x (*B, *event), level long in 0..L−1, (*B,) or a scalar."""
        has_event_shape("x", x, self.event_shape)
        self._check(level)
        return self._score(x, level)

    def _score(self, x: Tensor, level: Tensor) -> Tensor:
        out: Tensor = self.network(x, level)
        return out / self._sigma(level, x)

    def losses(self, x: Tensor, level: Tensor, noise: Tensor) -> Tensor:
        """σ² ℓ(σ) of each example with its level and noise, summed over dimensions, (*B,)."""
        has_shape("noise", noise, x.shape)
        self._check(level)
        sigma = self._sigma(level, x)
        error = sigma * self._score(x + sigma * noise, level) + noise
        return 0.5 * sum_event(error.square(), len(self.event_shape))

    def loss(
        self,
        x: Tensor,
        *,
        level: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Eq. 6 with one uniform level an example: averaged over the batch, summed over dimensions, a scalar."""
        has_event_shape("x", x, self.event_shape)
        if level is None:
            batch = x.shape[: x.ndim - len(self.event_shape)]
            level = torch.randint(len(self.sigmas), batch, generator=generator, device=x.device)
        noise = standard_normal(x.shape, x, generator) if noise is None else noise
        return self.losses(x, level, noise).mean()

    def sample(
        self,
        n: int,
        *,
        step: float = 2e-5,  # this and the next as in the paper, where σ_L = 0.01
        steps_per_level: int = 100,
        initial: Tensor | None = None,
        generator: torch.Generator | None = None,
        denoise: bool = False,
    ) -> Tensor:
        """Annealed Langevin dynamics, (n, *event).

        step: the paper's ε, the step size at the last level, to be chosen in proportion to σ_L²
        initial: where the chains start, (n, *event)
        denoise: ends with one step of Tweedie's formula, x + σ_L² s, as the paper of 2020 advises
        """
        at_least("n", n, 1)
        positive("step", step)
        at_least("steps_per_level", steps_per_level, 1)
        shape = (n, *self.event_shape)
        with evaluating(self):
            x = self.sigmas[0] * standard_normal(shape, self.sigmas, generator) if initial is None else initial
            has_shape("initial", x, shape)
            for i in range(len(self.sigmas)):
                level = torch.full((n,), i, device=x.device)
                alpha = step * (self.sigmas[i] / self.sigmas[-1]) ** 2
                for _ in range(steps_per_level):
                    x = x + alpha / 2 * self._score(x, level) + alpha.sqrt() * standard_normal(shape, x, generator)
            return x + self.sigmas[-1] ** 2 * self._score(x, level) if denoise else x
