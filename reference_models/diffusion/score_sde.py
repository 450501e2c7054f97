"""A score network for a diffusion in continuous time, and sampling by its reverse SDE.

    L = ½ E_t λ(t) E |s(x_t, t) − ∇ log q(x_t | x_0)|²,   ∇ log q(x_t | x_0) = −ε/σ(t)                  (eq. 7)

with λ = σ² (every t weighs the same: the noise loss of DDPM) or λ = g² ("likelihood": then L bounds −log p up to a
constant). The network outputs ε, and s = −ε/σ. Sampling follows the reverse SDE from t = 1 down to t_min, one `step` of
a predictor at a time, each followed by a corrector if there is one.

"Score-Based Generative Modeling through Stochastic Differential Equations" (Song et al., 2021),
https://arxiv.org/abs/2011.13456
"Maximum Likelihood Training of Score-Based Diffusion Models" (Song, Durkan, Murray, Ermon, 2021), theorem 1,
https://arxiv.org/abs/2101.09258

NOTE: the last step adds no noise and is not corrected; eq. 7 has no ½.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from reference_models.diffusion.sde import SDE
from reference_models.parts.distributions import standard_normal
from reference_models.parts.require import at_least, has_event_shape, has_shape, one_of, within
from reference_models.parts.shapes import expand_right, sum_event
from reference_models.parts.training import evaluating

Score = Callable[[Tensor, Tensor], Tensor]


class Predictor(Protocol):
    """One step of a reverse process."""

    def step(self, sde: SDE, score: Score, x: Tensor, t: Tensor, s: Tensor, noise: Tensor) -> Tensor:
        """x at s from x (n, *event) at t, s < t, both scalars; noise ~ N(0, I), or zero for the mean."""
        ...


class Corrector(Protocol):
    """Some steps of a chain whose law settles at p_t or near it."""

    def correct(self, sde: SDE, score: Score, x: Tensor, t: Tensor, generator: torch.Generator | None) -> Tensor:
        """x at t, closer to p_t."""
        ...


@dataclass(frozen=True)
class EulerMaruyama:
    """x + drift · (s − t) + g(t) √(t − s) z: the reverse SDE by Euler's method."""

    def step(self, sde: SDE, score: Score, x: Tensor, t: Tensor, s: Tensor, noise: Tensor) -> Tensor:
        """One step of the reverse SDE."""
        drift = sde.reverse_drift(x, t, score(x, t))
        return x + (s - t) * drift + sde.diffusion(t) * (t - s).sqrt() * noise


class ScoreSDE(nn.Module):
    """A noise network with its SDE: trained by `loss`, sampled by `sample`.

    network: ε(x, t), x (N, *event), t (N,) in [0, 1]
    event_shape: shape of one example
    t_min: training and sampling stop short of t = 0, where the score of data may not exist
    weighting: "simple" is λ = σ², "likelihood" λ = g²
    """

    def __init__(
        self,
        network: nn.Module,
        sde: SDE,
        event_shape: Sequence[int],
        *,
        t_min: float = 1e-3,
        weighting: Literal["simple", "likelihood"] = "simple",
    ) -> None:
        super().__init__()
        within("t_min", t_min, 0, 1, "()")
        one_of("weighting", weighting, ("simple", "likelihood"))
        self.network = network
        self.sde = sde
        self.event_shape = tuple(event_shape)
        self.t_min = t_min
        self.weighting = weighting

    def epsilon(self, x: Tensor, t: Tensor) -> Tensor:
        """The network's guess of the noise in x (*B, *event) at t (*B,) or ()."""
        has_event_shape("x", x, self.event_shape)
        batch = x.shape[: x.ndim - len(self.event_shape)]
        return self.network(x, t.expand(batch))

    def score(self, x: Tensor, t: Tensor) -> Tensor:
        """The guess of ∇ log p_t(x), −ε/σ(t), of x's shape."""
        return -self.epsilon(x, t) / expand_right(self.sde.sigma(t), x)

    def loss(
        self,
        x_0: Tensor,
        *,
        t: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Denoising score matching over t uniform on [t_min, 1]: averaged over the batch, summed over dimensions.

        t (*B,) in (0, 1] and noise of x_0's shape are drawn unless given.
        """
        has_event_shape("x_0", x_0, self.event_shape)
        if t is None:
            batch = x_0.shape[: x_0.ndim - len(self.event_shape)]
            u = torch.rand(batch, generator=generator, device=x_0.device, dtype=x_0.dtype)
            t = self.t_min + (1.0 - self.t_min) * u
        elif not bool(((t > 0) & (t <= 1)).all()):
            raise ValueError(f"t must lie in (0, 1], got {t.tolist()}")
        noise = standard_normal(x_0.shape, x_0, generator) if noise is None else noise
        x_t = self.sde.marginal(x_0, t).sample(noise)
        error = sum_event((self.epsilon(x_t, t) - noise).square(), len(self.event_shape))  # σ² |s − ∇ log q|²
        if self.weighting == "likelihood":
            error = error * (self.sde.diffusion(t) / self.sde.sigma(t)).square()
        return 0.5 * error.mean()

    def sample(
        self,
        n: int,
        *,
        steps: int = 500,
        predictor: Predictor | None = None,
        corrector: Corrector | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """n samples, (n, *event), in `steps` equal steps of time.

        predictor: Euler–Maruyama by default; corrector: none by default
        noise: x at t = 1, drawn from N(0, prior_std² I) unless given
        """
        at_least("n", n, 1)
        at_least("steps", steps, 1)
        predictor = predictor or EulerMaruyama()
        with evaluating(self):
            shape = (n, *self.event_shape)
            x = self.sde.prior_std * standard_normal(shape, self, generator) if noise is None else noise
            has_shape("noise", x, shape)
            times = torch.linspace(1.0, self.t_min, steps + 1, dtype=x.dtype, device=x.device)
            for t, s in pairwise(times[:-1]):
                x = predictor.step(self.sde, self.score, x, t, s, standard_normal(x.shape, x, generator))
                x = x if corrector is None else corrector.correct(self.sde, self.score, x, s, generator)
            return predictor.step(self.sde, self.score, x, times[-2], times[-1], torch.zeros_like(x))
