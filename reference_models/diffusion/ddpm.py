"""DDPM: a network learns to undo one step of a Gaussian diffusion, and undoing all of them draws a sample.

Training (algorithm 1): t uniform, ε ~ N(0, I), and in the noise parametrisation

    L_simple = E |ε − ε_θ(√ᾱ_t x_0 + √(1−ᾱ_t) ε, t)|²                                        (eq. 14)

Sampling (algorithm 2), from x_T ~ N(0, I) down, written through the guess x̂_0 of x_0 that any parametrisation gives:

    x_s = μ̃(x̂_0, x_t) + σ z,   σ² = β̃ ("small") or β ("large"),   z = 0 in the last step        (eq. 7, 11)

"Denoising Diffusion Probabilistic Models" (Ho, Jain, Abbeel, 2020), https://arxiv.org/abs/2006.11239
Fewer steps, t → s over gaps: "Improved Denoising Diffusion Probabilistic Models" (Nichol, Dhariwal, 2021), section 4,
https://arxiv.org/abs/2102.09672

A sampler is a value with one method, `step`; the loop over it stands in `DDPM.sample`, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from reference_models.diffusion import parametrisation
from reference_models.diffusion.gaussian_diffusion import Bound, GaussianDiffusion
from reference_models.diffusion.parametrisation import KINDS, Kind, Prediction
from reference_models.diffusion.schedule import Schedule
from reference_models.parts.distributions import standard_normal
from reference_models.parts.require import at_least, has_event_shape, has_shape, one_of, positive
from reference_models.parts.training import evaluating
from reference_models.parts.unet import UNet
from reference_models.protocols import Elbo


class Sampler(Protocol):
    """One step of a reverse process."""

    def step(self, process: GaussianDiffusion, guess: Prediction, t: int, s: int, noise: Tensor) -> Tensor:
        """x_s from x_t (it is guess.x_t), s < t, s = −1 being the data; noise ~ N(0, I) of x_t's shape."""
        ...


@dataclass(frozen=True)
class Ancestral:
    """Algorithm 2: draws x_s from p(x_s | x_t), except that the last step is the mean."""

    def step(self, process: GaussianDiffusion, guess: Prediction, t: int, s: int, noise: Tensor) -> Tensor:
        """One draw of the reverse chain."""
        p = process.reverse(guess.x_0, guess.x_t, t, s)
        return p.mean if s < 0 else p.sample(noise)


class DDPM(nn.Module):
    """A denoising network with its diffusion: trained by `loss`, sampled by `sample`, bounded by `elbo`.

    network: f(x_t, t) or f(x_t, t, condition); x_t (N, *event), t long (N,) of indices 0..T−1; returns x_t's shape
    event_shape: shape of one example
    parametrisation: what the network outputs
    variance, levels: of the reverse process, see `GaussianDiffusion`
    clip: the guess of x_0 is forced into [−clip, clip] while sampling and in the bound; None for unbounded data
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        event_shape: Sequence[int],
        *,
        parametrisation: Kind = "epsilon",
        variance: Literal["small", "large"] = "small",
        levels: int | None = None,
        clip: float | None = None,
    ) -> None:
        super().__init__()
        one_of("parametrisation", parametrisation, KINDS)
        if clip is not None:
            positive("clip", clip)
        self.network = network
        self.process = GaussianDiffusion(schedule, variance=variance, levels=levels)
        self.event_shape = tuple(event_shape)
        self.parametrisation: Kind = parametrisation
        self.clip = clip

    @property
    def schedule(self) -> Schedule:
        """The noise schedule of the process."""
        return self.process.schedule

    def output(self, x_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """The raw output of the network, x_t's shape."""
        return self.network(x_t, t) if condition is None else self.network(x_t, t, condition)

    def predict(self, x_t: Tensor, t: Tensor, *, condition: Tensor | None = None) -> Prediction:
        """The network's guess at x_t (*B, *event), t (*B,) or a scalar, in every parametrisation, not clipped."""
        has_event_shape("x_t", x_t, self.event_shape)
        a, sigma = self.schedule.alpha_bar(t, x_t).sqrt(), self.schedule.variance(t, x_t).sqrt()
        return parametrisation.read(self.parametrisation, self.output(x_t, t, condition), x_t, a, sigma)

    def draw_time(self, batch: torch.Size, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One index a sample, uniform on 0..T−1, long, (*B,)."""
        return torch.randint(self.schedule.steps, batch, generator=generator, device=like.device)

    def loss(
        self,
        x_0: Tensor,
        *,
        condition: Tensor | None = None,
        t: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The squared error of the network's output, averaged over batch and dimensions: L_simple (eq. 14), a scalar.

        t and noise are drawn unless given, t (*B,) long in 0..T−1 and noise of x_0's shape.
        """
        has_event_shape("x_0", x_0, self.event_shape)
        if t is None:
            t = self.draw_time(x_0.shape[: x_0.ndim - len(self.event_shape)], x_0, generator)
        elif bool((t < 0).any()):  # the schedule refuses the rest
            raise ValueError(f"t must be integers in 0..{self.schedule.steps - 1}, got {t.tolist()}")
        noise = standard_normal(x_0.shape, x_0, generator) if noise is None else noise
        x_t = self.process.diffuse(x_0, t, noise)
        a, sigma = self.schedule.alpha_bar(t, x_0).sqrt(), self.schedule.variance(t, x_0).sqrt()
        goal = parametrisation.target(self.parametrisation, x_0, noise, a, sigma)
        return (self.output(x_t, t, condition) - goal).square().mean()

    def sample(
        self,
        n: int,
        *,
        sampler: Sampler | None = None,
        times: Iterable[int] | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        **conditions: Any,
    ) -> Tensor:
        """n samples, (n, *event).

        sampler: ancestral by default; times: the indices visited, increasing, all by default
        noise: x_T, drawn unless given, (n, *event); conditions: keywords of `predict`, such as condition=

        Raises ValueError for times that do not increase within the schedule, for noise of another shape.
        """
        at_least("n", n, 1)
        sampler = sampler or Ancestral()
        shape = (n, *self.event_shape)
        with evaluating(self):
            x = standard_normal(shape, self, generator) if noise is None else noise
            has_shape("noise", x, shape)
            for t, s in self.schedule.pairs(times):
                guess = self.predict(x, torch.full((n,), t, device=x.device), **conditions)
                guess = guess if self.clip is None else guess.clipped(self.clip)
                x = sampler.step(self.process, guess, t, s, standard_normal(shape, x, generator))
        return x

    def bound(self, x_0: Tensor, *, generator: torch.Generator | None = None, **conditions: Any) -> Bound:
        """The terms of the variational bound, nats summed over dimensions, one draw of x_t a step; T network calls."""
        has_event_shape("x_0", x_0, self.event_shape)

        def denoise(x_t: Tensor, t: Tensor) -> Tensor:
            guess = self.predict(x_t, t, **conditions)
            return (guess if self.clip is None else guess.clipped(self.clip)).x_0

        return self.process.bound(x_0, denoise, len(self.event_shape), generator=generator)

    def elbo(self, x: Tensor, *, generator: torch.Generator | None = None, **conditions: Any) -> Elbo:
        """The variational bound of log p(x), nats, (*B,): reconstruction − kl, with its parts."""
        return self.bound(x, generator=generator, **conditions).elbo


def cifar10_ddpm() -> DDPM:
    """The paper's model of CIFAR-10: a thousand linear steps, x_0 in [−1, 1], 256 levels, σ² = β."""
    network = UNet.ddpm_cifar10()
    return DDPM(network, Schedule.linear(1000), (3, 32, 32), variance="large", levels=256, clip=1.0)
