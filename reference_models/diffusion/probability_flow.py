"""The probability flow: an ordinary differential equation with the marginals of a diffusion, and so its likelihood.

    dx/dt = v(x, t) = f(t) x − ½ g(t)² s(x, t)                                                  (eq. 13)
    log p_0(x(0)) = log p_1(x(1)) + ∫_0^1 div v(x(t), t) dt                                     (eq. 39)

where div v is exact (D backward passes) or Hutchinson's estimate wᵀ ∇v w with one w a solve (eq. 40). Data go to noise
in `forward`, noise to data in `inverse`, by a Runge–Kutta method with fixed steps.

"Score-Based Generative Modeling through Stochastic Differential Equations" (Song et al., 2021), section 4.3, appendix
D, https://arxiv.org/abs/2011.13456

NOTE: the base p_1 is N(0, prior_std² I) unless given. It is not quite the law of x(1), and no number of steps takes
that error away: for VP it is of order a(1) = e^{−5}. The flow starts at t_min, so the density is that of x(t_min).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reference_models.diffusion.score_sde import Score
from reference_models.diffusion.sde import SDE
from reference_models.parts.autodiff import divergence
from reference_models.parts.distributions import normal_log_prob, standard_normal
from reference_models.parts.ode import Method, odeint_states
from reference_models.parts.require import at_least, has_event_shape, has_shape, one_of, within
from reference_models.parts.shapes import flatten_batch, restore_batch, sum_event
from reference_models.protocols import Density


class ProbabilityFlow:
    """A density and a flow from any score function, whose network should be in evaluation mode; builds no graph.

    score: (x (N, *event), t ()) -> score of p_t, such as `ScoreSDE.score`
    base: the law at t = 1, N(0, prior_std² I) unless given
    steps, method: of the solver; t_min: where the data are
    divergence: "exact" or "hutchinson", whose Rademacher noise is drawn from `generator` once a solve
    like: a tensor or a module, such as the network, whose device and dtype samples have; the default ones unless given
    """

    def __init__(
        self,
        score: Score,
        sde: SDE,
        event_shape: Sequence[int],
        *,
        base: Density | None = None,
        steps: int = 100,
        method: Method = "rk4",
        t_min: float = 1e-3,
        divergence: str = "exact",
        like: Tensor | nn.Module | None = None,
    ) -> None:
        at_least("steps", steps, 1)
        one_of("divergence", divergence, ("exact", "hutchinson"))
        within("t_min", t_min, 0, 1, "[)")
        self.score, self.sde, self.base = score, sde, base
        self.event_shape = tuple(event_shape)
        self.steps, self.method, self.t_min = steps, method, t_min
        self.divergence = divergence
        self.like = like

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """v(x, t) at x (N, *event), t ()."""
        return self.sde.flow_drift(x, t, self.score(x, t))

    def _velocity_and_divergence(self, x: Tensor, t: Tensor, probe: Tensor | None) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_(True)
            v = self.velocity(leaf, t)
            if probe is not None:
                (gradient,) = torch.autograd.grad((v * probe).sum(), leaf)
                return v.detach(), sum_event(gradient * probe, len(self.event_shape))
            return v.detach(), divergence(v, leaf)

    def _solve(self, x: Tensor, start: float, end: float, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        has_event_shape("x", x, self.event_shape)
        flat, batch = flatten_batch(x, len(self.event_shape))
        probe = None
        if self.divergence == "hutchinson":
            signs = torch.randint(2, flat.shape, generator=generator, device=flat.device)
            probe = 2.0 * signs.to(flat.dtype) - 1.0

        def field(state: tuple[Tensor, ...], t: Tensor) -> tuple[Tensor, ...]:
            return self._velocity_and_divergence(state[0], t, probe)

        grid = torch.linspace(start, end, self.steps + 1, dtype=x.dtype, device=x.device)
        with torch.no_grad():
            y, logdet = odeint_states(field, (flat, flat.new_zeros(len(flat))), grid, self.method)[-1]
        return restore_batch(y, batch), restore_batch(logdet, batch)

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Data x (*B, *event) to (z, log|det ∂z/∂x|), the second (*B,), nats."""
        return self._solve(x, self.t_min, 1.0, generator)

    def inverse(self, z: Tensor, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Noise z (*B, *event) to (x, log|det ∂x/∂z|), the second (*B,), nats."""
        return self._solve(z, 1.0, self.t_min, generator)

    def log_prob(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """log p(x), nats, (*B, *event) to (*B,)."""
        z, logdet = self.forward(x, generator=generator)
        if self.base is not None:
            return self.base.log_prob(z) + logdet
        log_base = normal_log_prob(z, 0.0, math.log(self.sde.prior_std))
        return sum_event(log_base, len(self.event_shape)) + logdet

    def sample(self, n: int, *, generator: torch.Generator | None = None, noise: Tensor | None = None) -> Tensor:
        """n samples, (n, *event): what flows back from `noise` (n, *event) at t = 1, by default a draw of the base."""
        at_least("n", n, 1)
        if noise is None and self.base is not None:
            noise = self.base.sample(n, generator=generator)
        if noise is None:
            device = None if generator is None else generator.device
            like = torch.empty(0, device=device) if self.like is None else self.like
            noise = self.sde.prior_std * standard_normal((n, *self.event_shape), like, generator)
        has_shape("noise", noise, (n, *self.event_shape))
        grid = torch.linspace(1.0, self.t_min, self.steps + 1, dtype=noise.dtype, device=noise.device)

        def field(state: tuple[Tensor, ...], t: Tensor) -> tuple[Tensor, ...]:
            return (self.velocity(state[0], t),)

        with torch.no_grad():
            return odeint_states(field, (noise,), grid, self.method)[-1][0]
