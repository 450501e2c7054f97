"""Classifier-free guidance: one network learns with labels and without them; sampling extrapolates between the two.

Training drops the label of each example with a fixed probability, putting the null label in its place (algorithm 1).
Sampling uses

    ε̃ = (1 − w) ε_θ(x_t) + w ε_θ(x_t, y):    w = 0 ignores the label, w = 1 conditions on it, w > 1 overstates it.

The mixture of scores is that of p(x)^{1−w} p(x|y)^w ∝ p(x) p(y|x)^w at each t.

"Classifier-Free Diffusion Guidance" (Ho, Salimans, 2022), eq. 6, https://arxiv.org/abs/2207.12598

NOTE: the paper writes ε̃ = (1 + w') ε_θ(x_t, y) − w' ε_θ(x_t); its w' is our w − 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reference_models.diffusion import parametrisation
from reference_models.diffusion.ddpm import DDPM
from reference_models.diffusion.parametrisation import Prediction
from reference_models.diffusion.schedule import Schedule
from reference_models.parts.require import at_least, labels, within


class ClassifierFree(DDPM):
    """A DDPM with labels 0..K−1 that can also do without.

    network: f(x_t, t, y) with y long (N,); the label K means "none"
    drop: the probability with which `loss` drops a label  # 0.1 and 0.2 do best in the paper, section 4.2
    options: those of `DDPM`
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        event_shape: Sequence[int],
        num_classes: int,
        *,
        drop: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(network, schedule, event_shape, **options)
        at_least("num_classes", num_classes, 1)
        within("drop", drop, 0, 1)
        self.num_classes = num_classes
        self.drop = drop

    def dropped(self, y: Tensor, u: Tensor) -> Tensor:
        """Labels y long (*B,) with the null label wherever u (*B,), uniform on [0, 1), falls below `drop`."""
        return torch.where(u < self.drop, self.num_classes, y)

    def output(self, x_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """The raw output, with the null label where there is none."""
        return super().output(x_t, t, self._null(x_t) if condition is None else condition)

    def loss(
        self,
        x_0: Tensor,
        *,
        condition: Tensor | None = None,
        t: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        u: Tensor | None = None,
    ) -> Tensor:
        """`DDPM.loss` with labels (*B,) dropped at random, a scalar; u (*B,) decides which and is drawn unless given.

        Raises ValueError for a label outside 0..K−1.
        """
        if condition is not None:
            labels(condition, self.num_classes)
            u = torch.rand(condition.shape, generator=generator, device=x_0.device) if u is None else u
            condition = self.dropped(condition, u)
        return super().loss(x_0, condition=condition, t=t, noise=noise, generator=generator)

    def predict(self, x_t: Tensor, t: Tensor, *, condition: Tensor | None = None, weight: float = 1.0) -> Prediction:
        """The guided guess: ε̃ of the module docstring at x_t (*B, *event), labels (*B,), weight w.

        One call of the network where w is 0 or 1, or no label is given, else one with the batch doubled.
        """
        if condition is None or weight == 0.0:
            return super().predict(x_t, t)
        if weight == 1.0:
            return super().predict(x_t, t, condition=condition)
        batch = x_t.shape[: x_t.ndim - len(self.event_shape)]
        x, y = torch.stack([x_t, x_t]), torch.stack([self._null(x_t), condition.expand(batch)])
        times = torch.as_tensor(t, device=x.device).expand(batch)
        both = super().predict(
            x.reshape(-1, *self.event_shape), torch.stack([times, times]).reshape(-1), condition=y.reshape(-1)
        )
        without, given = both.epsilon.reshape(x.shape)  # (*B, *event) each
        a, sigma = self.schedule.alpha_bar(t, x_t).sqrt(), self.schedule.variance(t, x_t).sqrt()
        return parametrisation.from_epsilon(x_t, a, sigma, (1.0 - weight) * without + weight * given)

    def _null(self, x_t: Tensor) -> Tensor:
        batch = x_t.shape[: x_t.ndim - len(self.event_shape)]
        return torch.full(batch, self.num_classes, device=x_t.device)
