"""Conditional flow matching: learn the velocity of a path by regressing on the velocities of single points.

The velocity u_t(x) that carries noise to data is an average that nobody can compute; but the regression

    L = E_{t, x_0, x_1} ‖v(x_t, t) − dx_t/dt‖²,    t ~ U[0, 1],  x_0 ~ N(0, I),  x_1 ~ data

has it as its minimiser, because a mean is what least squares find: the gradients of this loss and of the intractable
E‖v − u_t‖² are equal (theorem 2). Samples are solutions of dx/dt = v(x, t) from noise at t = 0 to t = 1.

"Flow Matching for Generative Modeling" (Lipman, Chen, Ben-Hamu, Nickel, Le, 2023), eq. 9 and 14,
https://arxiv.org/abs/2210.02747
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Generator, Tensor, nn

from reference_models.flow_matching.paths import GaussianPath, Linear
from reference_models.parts.distributions import standard_normal
from reference_models.parts.ode import Field, Method, odeint
from reference_models.parts.require import at_least, has_event_shape
from reference_models.parts.training import evaluating
from reference_models.parts.unet import UNet


class FlowMatching(nn.Module):
    """A velocity network v(x, t) or v(x, t, y), its training loss and its sampler.

    velocity: a module called as (x, t) or (x, t, y), with x of shape (N, *event_shape), t (N,) or (), y long (N,).
    path: from noise to data, the straight line unless given.
    """

    def __init__(self, velocity: nn.Module, event_shape: Sequence[int], path: GaussianPath | None = None) -> None:
        super().__init__()
        self.velocity, self.event_shape = velocity, tuple(event_shape)
        self.path = Linear() if path is None else path

    @classmethod
    def cifar10(cls) -> Self:
        """At real size, 32×32: the U-Net of DDPM, 35.7 million parameters, with its time stretched to 0..1000."""
        return cls(cifar10_network(), (3, 32, 32))

    def couple(self, x_0: Tensor, x_1: Tensor, generator: Generator | None = None) -> Tensor:
        """The noise to go with each data point, shaped as x_0: here as it was drawn, independently of the data."""
        return x_0

    def loss(
        self,
        x_1: Tensor,
        y: Tensor | None = None,
        *,
        x_0: Tensor | None = None,
        t: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """The mean over batch and dimensions of (v(x_t, t) − dx_t/dt)², a scalar.

        x_1: data, (*B, *event_shape); y: labels, (*B,). x_0: the noise of each data point, drawn and coupled unless
        given; t: (*B,), one time an example, uniform unless given.
        """
        has_event_shape("x_1", x_1, self.event_shape)
        batch = x_1.shape[: x_1.ndim - len(self.event_shape)]
        if x_0 is None:
            x_0 = self.couple(standard_normal(x_1.shape, x_1, generator), x_1, generator)
        if t is None:
            t = torch.rand(batch, generator=generator, device=x_1.device, dtype=x_1.dtype)
        sample = self.path.interpolate(x_0, x_1, t)
        prediction: Tensor = self.velocity(sample.x_t, t) if y is None else self.velocity(sample.x_t, t, y)
        return ((prediction - sample.dx_t) ** 2).mean()

    def field(self, condition: Tensor | None = None) -> Field:
        """The learnt velocity as a function of (x, t), for a solver."""
        if condition is None:
            return lambda x, t: self.velocity(x, t)
        return lambda x, t: self.velocity(x, t, condition)

    def trajectory(
        self, x_0: Tensor, *, condition: Tensor | None = None, steps: int = 50, method: Method = "euler"
    ) -> Tensor:
        """Follows the velocity from t = 0 to 1 from x_0, (*B, *event_shape): all states, (steps + 1, *x_0.shape)."""
        return self.follow(self.field(condition), x_0, steps=steps, method=method)

    def encode(
        self, x_1: Tensor, *, condition: Tensor | None = None, steps: int = 50, method: Method = "euler"
    ) -> Tensor:
        """The noise that flows to x_1, by following the velocity backwards from t = 1 to 0; shaped as x_1."""
        return self.follow(self.field(condition), x_1, start=1.0, end=0.0, steps=steps, method=method)[-1]

    def follow(
        self, field: Field, x: Tensor, *, start: float = 0.0, end: float = 1.0, steps: int, method: Method = "euler"
    ) -> Tensor:
        """Solves dx/dt = field(x, t) in equal steps without building a graph: all states, (steps + 1, *x.shape)."""
        at_least("steps", steps, 1)
        has_event_shape("x", x, self.event_shape)
        grid = torch.linspace(start, end, steps + 1, device=x.device, dtype=x.dtype)
        with evaluating(self):
            return odeint(field, x, grid, method)

    def sample(
        self,
        n: int,
        *,
        condition: Tensor | None = None,
        steps: int = 50,
        method: Method = "euler",
        generator: Generator | None = None,
    ) -> Tensor:
        """n draws, (n, *event_shape), in `steps` steps of a solver; condition: labels, long, (n,) or ()."""
        noise = standard_normal((n, *self.event_shape), self, generator)
        return self.trajectory(noise, condition=condition, steps=steps, method=method)[-1]


def cifar10_network(num_classes: int | None = None) -> UNet:
    """The U-Net of `FlowMatching.cifar10`, with labels where a number of classes is given."""
    return UNet(
        3, 3, 128, (1, 2, 2, 2), blocks=2, attention_at=(1,), num_classes=num_classes, dropout=0.1, time_scale=1000.0
    )
