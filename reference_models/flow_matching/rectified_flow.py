"""Rectified flow: straighten a flow by training it again on its own beginnings and ends.

A flow learnt from the straight lines between independent noise and data moves each noise point z_0 to some z_1 along a
bent path. The pairs (z_0, z_1) are a coupling whose lines cross less: training a second flow on them, "reflow", never
raises any convex cost E c(z_1 − z_0), and makes paths straighter, in the limit straight, when one Euler step is exact.
How straight is measured by

    S = ∫₀¹ E ‖(z_1 − z_0) − v(z_t, t)‖² dt,    zero exactly when each point moves at constant velocity

"Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow" (Liu, Gong, Liu, 2023), section 2
and theorems 3.5 and 3.7, https://arxiv.org/abs/2209.03003
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from reference_models.flow_matching.conditional import FlowMatching
from reference_models.parts.distributions import standard_normal
from reference_models.parts.ode import Method
from reference_models.parts.require import at_least
from reference_models.parts.shapes import sum_event


@dataclass(frozen=True)
class Pairs:
    """A coupling given by examples: x_0[i] flows to x_1[i]; both (N, *event)."""

    x_0: Tensor
    x_1: Tensor

    def cost(self) -> Tensor:
        """E ‖x_1 − x_0‖², summed over the event, a scalar."""
        return ((self.x_1 - self.x_0) ** 2).flatten(1).sum(1).mean()

    def batch(self, n: int, generator: Generator | None = None) -> Pairs:
        """n of the pairs, drawn with replacement."""
        chosen = torch.randint(len(self.x_0), (n,), generator=generator, device=self.x_0.device)
        return Pairs(self.x_0[chosen], self.x_1[chosen])


class RectifiedFlow(FlowMatching):
    """Flow matching on lines, with reflow. `loss(pairs.x_1, x_0=pairs.x_0)` trains on a given coupling."""

    def pairs(self, n: int, *, steps: int = 50, method: Method = "euler", generator: Generator | None = None) -> Pairs:
        """n fresh noise points and where this flow takes them: the coupling the next flow is trained on."""
        x_0 = standard_normal((n, *self.event_shape), self, generator)
        return Pairs(x_0, self.trajectory(x_0, steps=steps, method=method)[-1])

    def reflow_loss(self, pairs: Pairs, *, t: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """The regression on lines between the pairs of an earlier flow: mean over batch and dimensions, a scalar."""
        return self.loss(pairs.x_1, x_0=pairs.x_0, t=t, generator=generator)

    def straightness(self, x_0: Tensor, *, steps: int = 50) -> Tensor:
        """S of the paths from x_0, (*B, *event_shape), summed over the event, per example: (*B,).

        Paths are those of `steps` Euler steps, the integral the mean over the steps. Raises ValueError for a single
        step, which is straight whatever the velocity.
        """
        at_least("steps", steps, 2)
        states = self.trajectory(x_0, steps=steps, method="euler")  # (steps + 1, *B, *event)
        velocities = states.diff(dim=0) * steps
        return sum_event((velocities - (states[-1] - states[0])) ** 2, len(self.event_shape)).mean(0)
