"""Guidance for flows: towards a class, by a classifier or by a network that also knows no class.

The score of p(x|y)^w p(x)^{1−w} is (1 − w) ∇log p(x) + w ∇log p(x|y); a velocity is an affine function of a score, with
the same coefficients whatever the law, so the same combination holds for velocities:

    v_w(x, t, y) = (1 − w) v(x, t, ∅) + w v(x, t, y)                   w = 0 no condition, w = 1 the conditional flow
    v_w(x, t, y) = v(x, t) + w ½ g_t² ∇ₓ log p_t(y | x)                 with a classifier of noisy points, same w

where ½ g_t² turns a score into a velocity, (1 − t)/t on the straight path. One network learns both velocities when the
label is dropped in a part of the training examples.

"Guided Flows for Generative Modeling and Decision Making" (Zheng et al., 2023), section 3,
https://arxiv.org/abs/2311.13443
"Classifier-Free Diffusion Guidance" (Ho, Salimans, 2022), https://arxiv.org/abs/2207.12598

NOTE: the form (1 + w) v(y) − w v(∅), equally common, calls w what is w + 1 here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Generator, Tensor, nn

from reference_models.flow_matching.conditional import FlowMatching, cifar10_network
from reference_models.flow_matching.paths import GaussianPath, Linear
from reference_models.parts.distributions import standard_normal
from reference_models.parts.ode import Field, Method
from reference_models.parts.require import at_least, within
from reference_models.parts.shapes import expand_right

ClassLogProb = Callable[[Tensor, Tensor], Tensor]


class GuidedFlowMatching(FlowMatching):
    """Flow matching with labels 0..num_classes−1 and classifier-free guidance; the label num_classes means none.

    drop: the share of labels replaced by "none" in training; 0.1 and 0.2 work alike (Ho and Salimans, section 4.2).
    """

    def __init__(
        self,
        velocity: nn.Module,
        event_shape: Sequence[int],
        num_classes: int,
        path: GaussianPath | None = None,
        *,
        drop: float = 0.1,
    ) -> None:
        super().__init__(velocity, event_shape, path)
        at_least("num_classes", num_classes, 1)
        within("drop", drop, 0, 1)
        self.num_classes, self.drop = num_classes, drop

    @classmethod
    def cifar10(cls) -> Self:
        """That of `FlowMatching`, with the ten classes."""
        return cls(cifar10_network(10), (3, 32, 32), 10)

    def loss(
        self,
        x_1: Tensor,
        y: Tensor | None = None,
        *,
        x_0: Tensor | None = None,
        t: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """The loss of `FlowMatching` with each label dropped with chance `drop`; all of them when y is None."""
        batch = x_1.shape[: x_1.ndim - len(self.event_shape)]
        if y is None:
            y = torch.full(batch, self.num_classes, device=x_1.device)
        self._check(y)
        dropped = torch.rand(batch, generator=generator, device=x_1.device) < self.drop
        return super().loss(x_1, y.masked_fill(dropped, self.num_classes), x_0=x_0, t=t, generator=generator)

    def guided(self, condition: Tensor, weight: float) -> Field:
        """v_w of the labels `condition`, long, (*B,) or ()."""
        self._check(condition)
        none = torch.full_like(condition, self.num_classes)

        def field(x: Tensor, t: Tensor) -> Tensor:
            unconditional: Tensor = self.velocity(x, t, none)
            conditional: Tensor = self.velocity(x, t, condition)
            return (1 - weight) * unconditional + weight * conditional

        return field

    def field(self, condition: Tensor | None = None) -> Field:
        """The velocity with a label, or without any."""
        if condition is None:
            none = torch.tensor(self.num_classes, device=next(self.parameters()).device)
            return lambda x, t: self.velocity(x, t, none)
        self._check(condition)
        return super().field(condition)

    def sample_guided(
        self,
        n: int,
        *,
        condition: Tensor,
        weight: float,
        steps: int = 50,
        method: Method = "euler",
        generator: Generator | None = None,
    ) -> Tensor:
        """n draws along v_w, (n, *event_shape); condition: labels, (n,) or ()."""
        x_0 = standard_normal((n, *self.event_shape), self, generator)
        return self.follow(self.guided(condition, weight), x_0, steps=steps, method=method)[-1]

    def _check(self, y: Tensor) -> None:
        if y.numel() and (int(y.min()) < 0 or int(y.max()) > self.num_classes):
            found = f"values in [{int(y.min())}, {int(y.max())}]"
            raise ValueError(f"every label must lie in 0..{self.num_classes} (the last: no label), got {found}")


def classifier_guided(
    velocity: Field, class_log_prob: ClassLogProb, weight: float = 1.0, path: GaussianPath | None = None
) -> Field:
    """v(x, t) + w ½ g_t² ∇ₓ log p_t(y | x).

    class_log_prob: (x, t) to log p_t(y | x) of the wished class, nats, (*B,), differentiable in x. The field is to be
    followed from a t above 0, where α_t is not zero; raises ValueError at 0.
    """
    path = Linear() if path is None else path

    def field(x: Tensor, t: Tensor) -> Tensor:
        if not bool((t > 0).all()):
            raise ValueError(f"classifier guidance needs every t above 0, got {float(t.min()):g}")
        with torch.enable_grad():
            x_in = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(class_log_prob(x_in, t).sum(), x_in)
        half_g_squared = 0.5 * path.sde(t.to(x.dtype)).diffusion
        return velocity(x, t) + weight * expand_right(half_g_squared, x) * gradient

    return field
