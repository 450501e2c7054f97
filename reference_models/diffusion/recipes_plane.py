"""How diffusion in discrete time is trained in the plane, where the best network is known, and how it is guided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from reference_models.data import DataSet
from reference_models.diffusion.classifier_free import ClassifierFree
from reference_models.diffusion.classifier_guidance import ClassifierGuided, classifier_loss
from reference_models.diffusion.ddim import DDIM, strided
from reference_models.diffusion.ddpm import DDPM
from reference_models.diffusion.parametrisation import Kind
from reference_models.diffusion.schedule import Schedule
from reference_models.evaluation.held_out import modes_found
from reference_models.parts.descent import descend
from reference_models.parts.distributions import standard_normal
from reference_models.parts.networks import TimeMLP
from reference_models.recipes import Figure, Goal, Learner, Minimise, Recipe, cosine, shadow

PLANE = ("corners", "mixture", "eight-gaussians")
HIDDEN = (128, 128, 128)
STEPS = 50
ON_MODES = Goal("within_4_sigma", at_least=0.7)
EXCESS = Goal("excess_loss", at_most=0.02)


def plane(
    model: nn.Module,
    draw: Callable[[Any, int, Generator], Tensor],
    metrics: Callable[[Any, DataSet, Generator], dict[str, float]],
) -> Learner:
    """A model with `loss(x, generator=)`, trained by Adam, shown and measured by 2000 samples that `draw` makes."""

    def measure(model: Any, data: DataSet, generator: Generator) -> dict[str, float]:
        return {**metrics(model, data, generator), **modes_found(draw(model, 2000, generator), data)}

    return Minimise(
        model,
        loss=lambda model, x, y, generator: model.loss(x, generator=generator),
        metrics=measure,
        figure=lambda model, data, generator: shadow(draw(model, 2000, generator), data),
        lr=2e-3,
        decay=True,
    )


@dataclass(frozen=True)
class Level:
    """One amount of noise, x_t = a x_0 + σ ε, and what the network says of ε there, (N, 2) to (N, 2)."""

    a: Tensor | float
    sigma: Tensor
    epsilon: Callable[[Tensor], Tensor]


@torch.no_grad()
def excess_loss(levels: Sequence[Level], data: DataSet, generator: Generator) -> dict[str, float]:
    """`excess_loss`, each level seeing its share of the held-out data.

    The best guess is ε* = −σ ∇ log p(x_t), and E|ε_θ − ε|² = E|ε_θ − ε*|² + E|ε* − ε|², of which the last is nobody's.
    """
    assert data.target is not None
    total = 0.0
    for i, level in enumerate(levels):
        x_0 = data.held_out[i :: len(levels)]
        x_t = level.a * x_0 + level.sigma * standard_normal(x_0.shape, x_0, generator)
        best = -level.sigma * data.target.noised(level.a, level.sigma).score(x_t)
        total += float((level.epsilon(x_t) - best).square().mean())
    return {"excess_loss": total / len(levels)}


def _ddpm(data: DataSet, kind: Kind = "epsilon") -> DDPM:
    dim = data.event_shape[0]
    return DDPM(TimeMLP(dim, HIDDEN, dim, time_scale=1.0), Schedule.scaled_linear(STEPS), (dim,), parametrisation=kind)


def _ddpm_excess(model: DDPM, data: DataSet, generator: Generator) -> dict[str, float]:
    def level(t: int) -> Level:
        a, sigma = (f(t, data.held_out).sqrt().squeeze() for f in (model.schedule.alpha_bar, model.schedule.variance))
        return Level(a, sigma, lambda x: model.predict(x, torch.full((len(x),), t, device=x.device)).epsilon)

    return excess_loss([level(t) for t in range(STEPS)], data, generator)


def _ancestral(model: DDPM, n: int, generator: Generator) -> Tensor:
    return model.sample(n, generator=generator)


def _ten_steps(model: DDPM, n: int, generator: Generator) -> Tensor:
    return model.sample(n, sampler=DDIM(), times=strided(STEPS, 10), generator=generator)


class Guided(Learner):
    """Classes of the eight Gaussians, by a classifier of noised data or by dropping labels."""

    def __init__(self, data: DataSet, free: bool) -> None:
        super().__init__()
        assert data.train_labels is not None
        self.classes, dim = int(data.train_labels.max()) + 1, data.event_shape[0]
        if free:
            network = TimeMLP(dim, HIDDEN, dim, time_scale=1.0, num_classes=self.classes)
            self.model: DDPM = ClassifierFree(network, Schedule.scaled_linear(STEPS), (dim,), self.classes)
        else:
            classifier = TimeMLP(dim, (64, 64), self.classes, time_scale=1.0)
            self.model = ClassifierGuided(_ddpm(data), classifier)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=2e-3)

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        assert y is not None
        if isinstance(self.model, ClassifierGuided):
            loss = self.model.loss(x, generator=generator)
            loss = loss + classifier_loss(self.model.classifier, self.model.process, x, y, generator=generator)
        else:
            loss = self.model.loss(x, condition=y, generator=generator)
        descend(self.optimiser, loss, cosine(self.progress))
        return {"loss": loss.item()}

    def _draw(self, n: int, data: DataSet, generator: Generator) -> tuple[Tensor, Tensor]:
        y = torch.arange(n, device=data.held_out.device) % self.classes
        return self.model.sample(n, condition=y, generator=generator), y

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        assert data.target is not None
        x, y = self._draw(2000, data, generator)
        modes = len(data.target.weights) // self.classes  # of a class, side by side
        right = data.target.responsibilities(x).argmax(1) // modes == y
        return {"right_class": float(right.float().mean()), **modes_found(x, data)}

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        return shadow(self._draw(2000, data, generator)[0], data)


IN_THE_PLANE: dict[str, Recipe] = {
    "diffusion-parametrisation": Recipe(
        build=lambda data: plane(_ddpm(data, "v"), _ancestral, _ddpm_excess),
        data=PLANE,
        goals=(EXCESS, ON_MODES),
        minutes=0.5,
        batch_size=256,
    ),
    "ddpm": Recipe(
        build=lambda data: plane(_ddpm(data), _ancestral, _ddpm_excess),
        data=PLANE,
        goals=(EXCESS, ON_MODES),
        minutes=0.5,
        batch_size=256,
    ),
    "ddim": Recipe(
        build=lambda data: plane(_ddpm(data), _ten_steps, _ddpm_excess),
        data=PLANE,
        goals=(EXCESS, Goal("within_4_sigma", at_least=0.6)),
        minutes=0.5,
        batch_size=256,
    ),
    "classifier-guidance": Recipe(
        build=lambda data: Guided(data, free=False),
        data=PLANE,
        goals=(Goal("right_class", at_least=0.97), ON_MODES),
        minutes=0.5,
        batch_size=256,
    ),
    "classifier-free-guidance": Recipe(
        build=lambda data: Guided(data, free=True),
        data=PLANE,
        goals=(Goal("right_class", at_least=0.97), ON_MODES),
        minutes=0.5,
        batch_size=256,
    ),
}
