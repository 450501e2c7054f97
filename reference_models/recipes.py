"""Recipes: how each family is trained here, on which data, and the number it must reach.

A recipe builds a learner for a data set. A learner owns its models and optimisers, takes one step at a time, and can
say after training how good it is on held-out data and what it looks like. The loop, the figures, the checkpoint and
the numbers on disk are written once, here and in `reference_models.__main__`.

Metrics, by name: `nll_nats` (mean −log p of held-out data), `excess_nats` (nll_nats minus the exact entropy),
`bits_per_dim`, `within_4_sigma` (share of samples within four standard deviations of a mode), `modes_covered`,
`frechet_digits` (Fréchet distance on features of digits), `coverage_digits` (part of the held-out digits that have a
sample near them). A bound in place of a likelihood says so: `nelbo_nats`.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
from torch import Generator, Tensor, nn

from reference_models.catalogue import Family
from reference_models.data import DataSet
from reference_models.parts.require import at_least, positive


@dataclass(frozen=True)
class Images:
    """Sheets of pictures side by side, by what they show; each holds pixels of shape (N, C, H, W) in [0, 1]."""

    sheets: Mapping[str, Tensor]


@dataclass(frozen=True)
class Points:
    """Samples in the plane beside data: (N, 2) each."""

    samples: Tensor
    data: Tensor


@dataclass(frozen=True)
class Curve:
    """Lines over a common axis: x of shape (N,), each line of shape (N,)."""

    x: Tensor
    lines: Mapping[str, Tensor]


Figure = Images | Points | Curve


def shadow(samples: Tensor, data: DataSet) -> Points:
    """The first two coordinates of samples (N, D), beside those of as many held-out examples."""
    return Points(samples[:, :2], data.held_out[: len(samples), :2])


def beside_data(samples: Tensor, data: DataSet) -> Images:
    """Sampled pictures of shape (N, C, H, W) beside N held-out ones."""
    return Images({"samples": samples, "data": data.held_out[: len(samples)]})


class Learner(nn.Module, ABC):
    """Models and optimisers of one training run.

    `progress`, from 0 to 1, is set by the loop before each step, for what is annealed.
    """

    progress: float = 0.0
    model: Any

    def trained(self) -> Any:
        """What the run is for: the model that the numbers and the samples are of."""
        return self.model

    @abstractmethod
    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        """One update on a batch x of shape (N, *event) with labels y, or None; returns the losses by name."""

    @abstractmethod
    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        """Numbers on held-out data, by the names this module's docstring lists."""

    @abstractmethod
    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        """What the model has learnt, to look at."""


Loss = Callable[[Any, Tensor, Tensor | None, Generator], Tensor]


class Minimise(Learner):
    """One model, one loss, Adam.

    loss: (model, x, y, generator) to a scalar; metrics, figure: (model, data, generator) to what `Learner` says.
    clip: the largest gradient norm, None for no clipping. decay: the learning rate falls to zero along a cosine.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        loss: Loss,
        metrics: Callable[[Any, DataSet, Generator], dict[str, float]],
        figure: Callable[[Any, DataSet, Generator], Figure],
        lr: float = 1e-3,
        clip: float | None = None,
        decay: bool = False,
    ) -> None:
        super().__init__()
        positive("lr", lr)
        self.model = model
        self._loss, self._metrics, self._figure = loss, metrics, figure
        self._lr, self._clip, self._decay = lr, clip, decay
        self._optimiser = torch.optim.Adam(model.parameters(), lr=lr)

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        if self._decay:
            for group in self._optimiser.param_groups:
                group["lr"] = self._lr * cosine(self.progress)
        loss = self._loss(self.model, x, y, generator)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self._clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self._clip)
        self._optimiser.step()
        return {"loss": loss.item()}

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        return self._metrics(self.model, data, generator)

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        return self._figure(self.model, data, generator)


def cosine(progress: float) -> float:
    """From 1 at progress 0 to 0 at progress 1."""
    return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


@dataclass(frozen=True)
class Goal:
    """What a metric must reach: at most or at least a number, or between two."""

    metric: str
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        if self.at_most is None and self.at_least is None:
            raise ValueError(f"the goal for {self.metric} states no number")

    def reached(self, metrics: Mapping[str, float]) -> bool:
        """Whether the metric is there and within the limits; NaN is not."""
        value = metrics.get(self.metric, float("nan"))
        low = -float("inf") if self.at_least is None else self.at_least
        high = float("inf") if self.at_most is None else self.at_most
        return low <= value <= high

    def __str__(self) -> str:
        limits = (("≥", self.at_least), ("≤", self.at_most))
        said = [f"{sign} {limit:g}" for sign, limit in limits if limit is not None]
        return f"{self.metric} {' and '.join(said)}"


OF_DIGITS = (  # beyond a Gaussian a class on "drawn-16", which is at 6.6 and 0.54; and no training images recited
    Goal("frechet_digits", at_most=4.8),
    Goal("coverage_digits", at_least=0.6),
    Goal("copying", at_most=0.75),
)


@dataclass(frozen=True)
class Recipe:
    """How a family is trained: `data` are the sets it takes, the first by default; `goals` hold for that one.

    apart: why no trivial model is to be beaten there, "" where one is: the goals then lie beyond `baselines`.
    """

    build: Callable[[DataSet], Learner]
    data: tuple[str, ...]
    goals: tuple[Goal, ...]
    minutes: float = 0.5
    batch_size: int = 128
    apart: str = ""

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("a recipe must name the data sets it takes, got none")
        positive("minutes", self.minutes)
        at_least("batch_size", self.batch_size, 1)


def recipe_of(family: Family) -> Recipe | None:
    """The recipe of a family; None where there is nothing to train."""
    recipes: Mapping[str, Recipe] = import_module(f"reference_models.{family.folder}.recipes").RECIPES
    return recipes.get(family.name)


@dataclass
class History:
    """Losses by name, one value a step, and how the run went."""

    losses: dict[str, list[float]] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0

    def add(self, losses: Mapping[str, float]) -> None:
        """Appends one step."""
        for name, value in losses.items():
            self.losses.setdefault(name, []).append(value)
        self.steps += 1


def batches(data: DataSet, size: int, generator: Generator) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Batches without end: each pass over the training data in a new random order, the last odd ones left out."""
    n = len(data.train)
    size = min(size, n)
    while True:
        order = torch.randperm(n, generator=generator, device=data.train.device)
        for chosen in order[: n - n % size].split(size):
            yield data.train[chosen], None if data.train_labels is None else data.train_labels[chosen]


class DivergedError(Exception):
    """A loss became NaN or infinite; the message says which and when."""


def train(
    learner: Learner,
    data: DataSet,
    *,
    minutes: float,
    batch_size: int,
    generator: Generator,
    steps: int | None = None,
    on_step: Callable[[History], None] = lambda history: None,
    stopped: Callable[[], bool] = lambda: False,
) -> History:
    """Steps until the time is over, or `steps` of them if that is fewer, at least one; calls `on_step` after each.

    Ends between two steps once `stopped()` is true, with what has been learnt by then.

    On one thread of the CPU time is that of the processor, so that a busy machine learns as much as a quiet one; it is
    the wall's otherwise. Raises DivergedError when a loss is not finite, ValueError for minutes that are not positive
    or fewer than 1 step.
    """
    positive("minutes", minutes)
    if steps is not None:
        at_least("steps", steps, 1)
    clock = time.process_time if _one_thread(data) else time.perf_counter
    history, start = History(), clock()
    learner.train()
    for x, y in batches(data, batch_size, generator):
        history.seconds = clock() - start
        learner.progress = max(history.seconds / (60 * minutes), 0.0 if steps is None else history.steps / steps)
        if history.steps and (learner.progress >= 1 or stopped()):
            break
        losses = learner.step(x, y, generator=generator)
        for name, value in losses.items():
            if not math.isfinite(value):
                raise DivergedError(f"after {history.steps} steps {name} is {value}")
        history.add(losses)
        on_step(history)
    learner.progress = 1.0
    return history


def _one_thread(data: DataSet) -> bool:
    return data.train.device.type == "cpu" and torch.get_num_threads() == 1
