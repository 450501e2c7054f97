"""What training and sampling loops share: averaged weights, frozen modules, evaluation mode, gradient norms."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch import nn

from reference_models.parts.require import within

Model = TypeVar("Model", bound=nn.Module)


class EMA(nn.Module, Generic[Model]):
    """An exponential moving average of a model's weights: w̄ ← decay·w̄ + (1 − decay)·w after each step.

    `average` is a copy of the model that carries the averaged weights; buffers are copied as they are.
    """

    def __init__(self, model: Model, decay: float) -> None:
        super().__init__()
        within("decay", decay, 0, 1, "()")
        self.decay = decay
        self.average: Model = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model: Model) -> None:
        """Takes one step towards the weights of `model`."""
        for mean, new in zip(self.average.parameters(), model.parameters(), strict=True):
            mean.lerp_(new, 1 - self.decay)
        for buffer, current in zip(self.average.buffers(), model.buffers(), strict=True):
            buffer.copy_(current)


@contextmanager
def freeze(*modules: nn.Module) -> Iterator[None]:
    """Within it, the parameters ask for no gradient; gradients still flow through the modules to their inputs."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Within it, the modules are in evaluation mode and no graph is built; each module's mode is restored."""
    modes = [(module, module.training) for root in modules for module in root.modules()]
    for root in modules:
        root.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
