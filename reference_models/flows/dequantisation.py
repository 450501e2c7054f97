"""Uniform dequantisation: what the density of noisy pixels says about the probability of pixels.

Levels x in {0, …, K-1}^D get noise u in [0, 1)^D; y = (x + u) / K lies in [0, 1)^D and a density p(y) can be fitted
without falling into the spikes of discrete data. The model of the levels is P(x) = K^{-D} ∫ p((x + u) / K) du, and by
Jensen's inequality, for any q(u | x) on the unit cube,

    log P(x) ≥ E_{u ~ q} [log p((x + u) / K) - D log K - log q(u | x)],

with q uniform here, log q = 0; variational_dequantisation.py learns q. The bound with S draws inside the logarithm,

    log (1/S) Σ_s p((x + u_s) / K) K^{-D} / q(u_s | x),

rises to log P(x) with S.

"A Note on the Evaluation of Generative Models" (Theis, van den Oord, Bethge, 2016), section 3.1,
https://arxiv.org/abs/1511.01844; any q: "Flow++" (Ho et al., 2019), section 3.1, https://arxiv.org/abs/1902.00275.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from reference_models.flows.change_of_variables import FlowDensity
from reference_models.parts import require
from reference_models.parts.shapes import flatten_batch, restore_batch


@dataclass(frozen=True)
class Noise:
    """Draws of q(u | x): `u` shaped as the levels, in [0, 1), up to rounding; `log_q` one a draw, in nats."""

    u: Tensor
    log_q: Tensor


class Dequantisation(nn.Module, ABC):
    """A model of integer levels made of a density on the unit cube and a law of noise.

    Args:
        density: p(y) for y in [0, 1]^D: log_prob, sample and event_shape are used.
        num_levels: K ≥ 2.

    NOTE: where the density puts mass outside the cube (no logit transform at its front), the probabilities of the
    levels sum to less than one, and `sample` counts what falls outside to the nearest level.
    """

    def __init__(self, density: FlowDensity, num_levels: int) -> None:
        super().__init__()
        require.at_least("num_levels", num_levels, 2)
        self.density, self.num_levels = density, num_levels
        self.event_shape = density.event_shape
        self.dims = math.prod(self.event_shape)

    @abstractmethod
    def noise(self, levels: Tensor, *, generator: Generator | None = None) -> Noise:
        """u ~ q(u | x) for levels (N, *event_shape), of the density's dtype: u (N, *event_shape), log_q (N,)."""

    def _levels(self, levels: Tensor) -> tuple[Tensor, torch.Size]:
        require.has_event_shape("levels", levels, self.event_shape)
        if not bool(((levels >= 0) & (levels < self.num_levels) & (levels == levels.floor())).all()):
            raise ValueError(
                f"levels must be whole numbers in 0..{self.num_levels - 1}, got values in "
                f"[{float(levels.min()):g}, {float(levels.max()):g}]"
            )
        flat, batch = flatten_batch(levels, len(self.event_shape))
        return flat.to(self.density.base.origin.dtype), batch

    def _log_weight(self, levels: Tensor, noise: Noise) -> Tensor:
        """log p((x + u) / K) - D log K - log q(u | x), (N,)."""
        y = (levels + noise.u) / self.num_levels
        return self.density.log_prob(y) - self.dims * math.log(self.num_levels) - noise.log_q

    def bound(self, levels: Tensor, *, generator: Generator | None = None) -> Tensor:
        """A one-draw estimate of the lower bound of log P(x).

        Args:
            levels: whole numbers 0..K-1, any dtype, shape (*B, *event_shape).
            generator: where u comes from.

        Returns:
            Nats, summed over dimensions, shape (*B,).
        """
        flat, batch = self._levels(levels)
        return restore_batch(self._log_weight(flat, self.noise(flat, generator=generator)), batch)

    def importance_bound(self, levels: Tensor, *, samples: int, generator: Generator | None = None) -> Tensor:
        """The bound with S = `samples` draws inside the logarithm, shape (*B,), nats; grows with S towards log P(x)."""
        require.at_least("samples", samples, 1)
        flat, batch = self._levels(levels)
        repeated = flat.repeat_interleave(samples, dim=0)  # (N·S, *event_shape)
        weights = self._log_weight(repeated, self.noise(repeated, generator=generator)).reshape(len(flat), samples)
        return restore_batch(torch.logsumexp(weights, dim=1) - math.log(samples), batch)

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """Levels, long, (n, *event_shape): ⌊K y⌋ for y of the density."""
        y = self.density.sample(n, generator=generator)
        return (y * self.num_levels).floor().long().clamp(0, self.num_levels - 1)


class UniformDequantisation(Dequantisation):
    """q(u | x) uniform on [0, 1)^D."""

    def noise(self, levels: Tensor, *, generator: Generator | None = None) -> Noise:
        u = torch.rand(levels.shape, generator=generator, device=levels.device, dtype=levels.dtype)
        return Noise(u, u.new_zeros(len(levels)))
