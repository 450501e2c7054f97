"""Noise schedules of discrete-time diffusion: how much of the signal each of T steps destroys.

One step keeps √(1−β_t) of the signal and adds variance β_t, so t steps keep √ᾱ_t and leave variance 1 − ᾱ_t:

    ᾱ_t = Π_{i≤t} (1 − β_i),      ᾱ_t/ᾱ_s and 1 − ᾱ_t/ᾱ_s for the steps s+1..t together.

linear   β from 1e-4 to 0.02 in a thousand steps                (Ho et al., section 4)
cosine   ᾱ = c(t/T)/c(0),  c(u) = cos²((u + s)/(1 + s) · π/2)   (Nichol and Dhariwal, eq. 17)

"Denoising Diffusion Probabilistic Models" (Ho, Jain, Abbeel, 2020), https://arxiv.org/abs/2006.11239
"Improved Denoising Diffusion Probabilistic Models" (Nichol, Dhariwal, 2021), https://arxiv.org/abs/2102.09672

Indices: t = 0..T−1 mean x_1..x_T of the papers, and t = −1 the data x_0, where ᾱ = 1.
One table is kept, log ᾱ, in which 1 − ᾱ = −expm1(log ᾱ) loses no digits near the data, in float32 either.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn

from reference_models.parts.require import at_least, within


class Schedule(nn.Module):
    """The numbers of a forward process with steps `betas`, shape (T,).

    Raises ValueError for a β outside (0, 1) and for no step at all.
    """

    log_alpha_bars: Tensor  # (T + 1,): entry t + 1 belongs to index t, entry 0 to the data

    def __init__(self, betas: Tensor) -> None:
        super().__init__()
        if betas.ndim != 1 or len(betas) == 0:
            raise ValueError(f"betas must have shape (T,) with T at least 1, got {tuple(betas.shape)}")
        within("beta", betas, 0, 1, "()")
        logs = torch.log1p(-betas.double()).cumsum(0)
        dtype = betas.dtype if betas.is_floating_point() else torch.get_default_dtype()
        self.register_buffer("log_alpha_bars", torch.cat([logs.new_zeros(1), logs]).to(dtype))

    @classmethod
    def linear(cls, steps: int = 1000, start: float = 1e-4, end: float = 0.02) -> Schedule:
        """β_t evenly from `start` to `end`, the defaults those of Ho et al. for a thousand steps."""
        at_least("steps", steps, 1)
        return cls(torch.linspace(start, end, steps, dtype=torch.float64).to(torch.get_default_dtype()))

    @classmethod
    def scaled_linear(cls, steps: int) -> Schedule:
        """The linear schedule squeezed into fewer steps: β from 0.1/T to 20/T, so that ᾱ_T is about e^{−10}."""
        at_least("steps", steps, 21)
        return cls.linear(steps, 0.1 / steps, 20.0 / steps)

    @classmethod
    def cosine(cls, steps: int = 1000, offset: float = 0.008, largest: float = 0.999) -> Schedule:
        """Nichol and Dhariwal, eq. 17; no β above `largest`, as they ask in the text after it."""
        at_least("steps", steps, 1)
        u = torch.arange(steps + 1, dtype=torch.float64) / steps
        alpha_bars = torch.cos((u + offset) / (1.0 + offset) * math.pi / 2.0) ** 2
        betas = 1.0 - alpha_bars[1:] / alpha_bars[:-1]
        return cls(betas.clamp(max=largest).to(torch.get_default_dtype()))

    @classmethod
    def from_alpha_bars(cls, alpha_bars: Tensor) -> Schedule:
        """The schedule whose ᾱ_t are given, (T,), strictly decreasing in (0, 1)."""
        within("alpha_bar", alpha_bars, 0, 1, "()")
        if not bool((alpha_bars[1:] < alpha_bars[:-1]).all()):
            raise ValueError(f"alpha_bars must decrease strictly, got {alpha_bars.tolist()}")
        before = torch.cat([alpha_bars.new_ones(1), alpha_bars[:-1]])
        return cls(1.0 - alpha_bars / before)

    @property
    def steps(self) -> int:
        """T."""
        return len(self.log_alpha_bars) - 1

    @property
    def alpha_bars(self) -> Tensor:
        """ᾱ at the indices 0..T−1, shape (T,)."""
        return self.log_alpha_bars[1:].exp()

    @property
    def betas(self) -> Tensor:
        """β at the indices 0..T−1, shape (T,)."""
        return -torch.expm1(self.log_alpha_bars.diff())

    def log_alpha_bar(self, t: Tensor | int, like: Tensor) -> Tensor:
        """log ᾱ_t, shaped to broadcast against `like` (*B, *event); t (*B,) or a scalar, −1..T−1."""
        index = torch.as_tensor(t, device=self.log_alpha_bars.device)
        if index.is_floating_point() or int(index.min()) < -1 or int(index.max()) >= self.steps:
            raise ValueError(f"t must be integers in -1..{self.steps - 1}, got {index.tolist()}")
        values = self.log_alpha_bars[index + 1].to(like.dtype)
        return values.reshape(values.shape + (1,) * (like.ndim - values.ndim))

    def alpha_bar(self, t: Tensor | int, like: Tensor) -> Tensor:
        """ᾱ_t: the square of what is left of the signal."""
        return self.log_alpha_bar(t, like).exp()

    def variance(self, t: Tensor | int, like: Tensor) -> Tensor:
        """1 − ᾱ_t: the variance of the noise in x_t."""
        return -torch.expm1(self.log_alpha_bar(t, like))

    def alpha_between(self, t: Tensor | int, s: Tensor | int, like: Tensor) -> Tensor:
        """ᾱ_t/ᾱ_s for s < t: α_t when s = t − 1. Raises ValueError for another s."""
        return self._log_alpha_between(t, s, like).exp()

    def beta_between(self, t: Tensor | int, s: Tensor | int, like: Tensor) -> Tensor:
        """1 − ᾱ_t/ᾱ_s for s < t: β_t when s = t − 1. Raises ValueError for another s."""
        return -torch.expm1(self._log_alpha_between(t, s, like))

    def _log_alpha_between(self, t: Tensor | int, s: Tensor | int, like: Tensor) -> Tensor:
        t, s = torch.as_tensor(t), torch.as_tensor(s)
        if not bool((s < t).all()):
            raise ValueError(f"a step goes from s to a later t, got s = {s.tolist()} and t = {t.tolist()}")
        return self.log_alpha_bar(t, like) - self.log_alpha_bar(s, like)

    def log_snr(self, t: Tensor | int, like: Tensor) -> Tensor:
        """log ᾱ_t/(1 − ᾱ_t): the signal-to-noise ratio that orders all schedules."""
        log_alpha_bar = self.log_alpha_bar(t, like)
        return log_alpha_bar - torch.log(-torch.expm1(log_alpha_bar))

    def pairs(self, times: Iterable[int] | None = None) -> list[tuple[int, int]]:
        """The transitions (t, s) of a sampler, from noise to data; the last s is −1.

        times: the indices visited, strictly increasing in 0..T−1, all of them by default.
        """
        visited = list(range(self.steps)) if times is None else [int(t) for t in times]
        if not visited or visited[0] < 0 or visited[-1] >= self.steps:
            raise ValueError(f"times must be indices in 0..{self.steps - 1}, got {visited}")
        if any(later <= earlier for earlier, later in pairwise(visited)):
            raise ValueError(f"times must increase strictly, got {visited}")
        return list(pairwise([*reversed(visited), -1]))
