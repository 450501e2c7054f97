"""The likelihood of a learnt flow: follow data back to noise and count how volume changes on the way.

The velocity learnt by regression defines a normalised density although no likelihood was trained. Along a solution of
dx/dt = v(x, t) the log-density changes by minus the divergence (continuity equation), so that

    log p_1(x) = log N(x(0); 0, I) − ∫₀¹ div v(x(t), t) dt,    x(1) = x

with x(t) solved from t = 1 back to 0 together with the integral. The divergence is exact, at the cost of D gradients,
or Hutchinson's estimate εᵀ (∂v/∂x) ε with one ε held for the whole path, unbiased for log p.

"Flow Matching for Generative Modeling" (Lipman, Chen, Ben-Hamu, Nickel, Le, 2023), appendix C,
https://arxiv.org/abs/2210.02747

NOTE: this is the density of the solver's samples only as far as the solver is exact; take enough steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reference_models.flow_matching.conditional import FlowMatching
from reference_models.flow_matching.paths import GaussianPath
from reference_models.flows.ffjord import hutchinson_divergence
from reference_models.flows.neural_ode import exact_divergence
from reference_models.parts.distributions import normal_log_prob
from reference_models.parts.ode import Method, State, odeint_states
from reference_models.parts.require import at_least, has_event_shape, has_shape
from reference_models.parts.shapes import flatten_batch, restore_batch, sum_event


class FlowMatchingDensity(FlowMatching):
    """A flow-matching model that is a density and a flow: forward maps data to noise, inverse noise to data."""

    def __init__(
        self,
        velocity: nn.Module,
        event_shape: Sequence[int],
        path: GaussianPath | None = None,
        *,
        steps: int = 50,
        method: Method = "rk4",
    ) -> None:
        """steps, method: how likelihoods are solved; `sample` says its own."""
        super().__init__(velocity, event_shape, path)
        at_least("steps", steps, 1)
        self.steps, self.method = steps, method

    def forward(
        self, x: Tensor, *, condition: Tensor | None = None, probes: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """x to (z, log|det ∂z/∂x|): shapes (*B, *event_shape) and (*B,)."""
        return self._move(x, 1.0, 0.0, condition, probes)

    def inverse(
        self, z: Tensor, *, condition: Tensor | None = None, probes: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """z to (x, log|det ∂x/∂z|): shapes (*B, *event_shape) and (*B,)."""
        return self._move(z, 0.0, 1.0, condition, probes)

    def log_prob(self, x: Tensor, *, condition: Tensor | None = None, probes: Tensor | None = None) -> Tensor:
        """log p(x) in nats, (*B, *event_shape) to (*B,); with probes ε, shaped as x, an unbiased estimate of it.

        condition: labels, (*B,). The probes should have mean 0 and covariance I.
        """
        z, logdet = self.forward(x, condition=condition, probes=probes)
        zero = torch.zeros_like(z)
        return sum_event(normal_log_prob(z, zero, zero), len(self.event_shape)) + logdet

    def _move(
        self, x: Tensor, start: float, end: float, condition: Tensor | None, probes: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The state at `end` and the integral of the divergence from `start` to `end`."""
        has_event_shape("x", x, self.event_shape)
        if probes is not None:
            has_shape("probes", probes, x.shape)
        flat, batch = flatten_batch(x, len(self.event_shape))
        labels = None if condition is None else condition.expand(batch).reshape(len(flat))
        velocity = self.field(labels)

        def field(state: State, t: Tensor) -> State:
            if probes is None:
                return exact_divergence(velocity, state[0], t)
            return hutchinson_divergence(velocity, state[0], t, probes.reshape(flat.shape))

        grid = torch.linspace(start, end, self.steps + 1, device=x.device, dtype=x.dtype)
        moved, logdet = odeint_states(field, (flat, flat.new_zeros(len(flat))), grid, self.method)[-1]
        return restore_batch(moved, batch), restore_batch(logdet, batch)
