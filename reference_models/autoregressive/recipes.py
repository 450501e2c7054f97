"""How the autoregressive models are trained here: by maximum likelihood, on data of known entropy where there is some.

On "bars" and "waves" `excess_nats` is the mean −log p of held-out data above the exact entropy; below it by more than
sampling error would be a leak. On digits `bits_per_dim` and, for a model of p(x | class), `class_accuracy`: how often
Bayes' rule with a uniform prior finds the digit.

Large images are measured on as many held-out ones as have a million numbers, and few are drawn: a draw costs as many
passes through the network as an image has numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from reference_models.autoregressive.conditional_pixelcnn import ConditionalPixelCNN
from reference_models.autoregressive.diagonal_bilstm import DiagonalBiLSTM
from reference_models.autoregressive.gated_pixelcnn import GatedPixelCNN
from reference_models.autoregressive.image_gpt import ImageGPT
from reference_models.autoregressive.made import MADE
from reference_models.autoregressive.nade import NADE
from reference_models.autoregressive.pixelcnn import PixelCNN
from reference_models.autoregressive.pixelcnn_pp import PixelCNNPlusPlus
from reference_models.autoregressive.row_lstm import RowLSTM
from reference_models.autoregressive.wavenet import WaveNet
from reference_models.data import DataSet
from reference_models.evaluation.bits_per_dim import bits_per_dim
from reference_models.parts.training import evaluating
from reference_models.recipes import Curve, Figure, Goal, Learner, Minimise, Recipe, beside_data

BINARY = ("crossed-bars", "bars", "glass", "digits-binary", "drawn-binary")
IMAGES = (*BINARY, "digits", "drawn-16", "mnist", "cifar10")
Draw = Callable[[Any, DataSet, Generator], Figure]
CHUNK = 500  # held-out examples scored at once


def measured(data: DataSet) -> tuple[Tensor, Tensor | None]:
    """Every so many-th held-out example, so that they have about a million numbers at most, with its label."""
    every = math.ceil(len(data.held_out) * math.prod(data.event_shape) / (1 << 20))
    return data.held_out[::every], None if data.held_out_labels is None else data.held_out_labels[::every]


def drawn(data: DataSet) -> int:
    """How many samples the figure shows: 36, or as many as have eight thousand numbers, at least 4."""
    return max(4, min(36, (1 << 13) // math.prod(data.event_shape)))


def mean_log_prob(data: DataSet, log_prob: Callable[[Tensor, Tensor | None], Tensor]) -> float:
    """The mean log p of held-out examples, nats; log_prob takes examples and their labels."""
    held_out, labels = measured(data)
    parts = [
        log_prob(x, None if labels is None else labels[i * CHUNK : (i + 1) * CHUNK]).sum()
        for i, x in enumerate(held_out.split(CHUNK))
    ]
    return (torch.stack(parts).sum() / len(held_out)).item()


def numbers(data: DataSet, log_prob: float) -> dict[str, float]:
    """nll_nats, bits_per_dim, and excess_nats where the entropy is known."""
    metrics = {
        "nll_nats": -log_prob,
        "bits_per_dim": float(bits_per_dim(torch.tensor(-log_prob), math.prod(data.event_shape))),
    }
    return metrics if data.entropy is None else metrics | {"excess_nats": -log_prob - data.entropy}


def likelihood_metrics(model: Any, data: DataSet, generator: Generator) -> dict[str, float]:
    """For a model with log_prob(x) of events as they are."""
    with evaluating(model):
        return numbers(data, mean_log_prob(data, lambda x, y: model.log_prob(x)))


def samples(model: Any, data: DataSet, generator: Generator) -> Figure:
    """Images beside data."""
    return beside_data(model.sample(drawn(data), generator=generator), data)


def by_likelihood(model: nn.Module, lr: float = 3e-3, figure: Draw = samples) -> Minimise:
    """Minimises the mean of −log p(x) over the batch, nats."""
    return Minimise(
        model,
        loss=lambda model, x, y, generator: -model.log_prob(x).mean(),
        metrics=likelihood_metrics,
        figure=figure,
        lr=lr,
        clip=5.0,
        decay=True,
    )


def flat(model: nn.Module, lr: float = 3e-3) -> Minimise:
    """The same for a model of vectors, trained on images as vectors."""

    def metrics(model: Any, data: DataSet, generator: Generator) -> dict[str, float]:
        with evaluating(model):
            return numbers(data, mean_log_prob(data, lambda x, y: model.log_prob(x.flatten(1))))

    return Minimise(
        model,
        loss=lambda model, x, y, generator: -model.log_prob(x.flatten(1)).mean(),
        metrics=metrics,
        figure=lambda model, data, generator: beside_data(
            model.sample(drawn(data), generator=generator).reshape(-1, *data.event_shape), data
        ),
        lr=lr,
        decay=True,
    )


def by_class(model: ConditionalPixelCNN, lr: float = 3e-3) -> Minimise:
    """p(x | class), and the class by Bayes' rule."""

    def metrics(model: Any, data: DataSet, generator: Generator) -> dict[str, float]:
        held_out, labels = measured(data)
        assert labels is not None
        with evaluating(model):
            found = numbers(data, mean_log_prob(data, lambda x, y: model.log_prob(x, condition=y)))
            classes = torch.cat([model.class_log_prob(x).argmax(-1) for x in held_out.split(CHUNK)])
        return found | {"class_accuracy": (classes == labels).double().mean().item()}

    def figure(model: Any, data: DataSet, generator: Generator) -> Figure:
        classes = torch.arange(drawn(data), device=data.held_out.device) % model.condition_features
        return beside_data(model.sample(len(classes), condition=classes, generator=generator), data)

    return Minimise(
        model,
        loss=lambda model, x, y, generator: -model.log_prob(x, condition=y).mean(),
        metrics=metrics,
        figure=figure,
        lr=lr,
        clip=5.0,
        decay=True,
    )


def waves(data: DataSet) -> Learner:
    """WaveNet on sequences of 16 levels; the figure shows data above samples."""

    def figure(model: Any, data: DataSet, generator: Generator) -> Figure:
        drawn = model.sample(3, generator=generator)
        time = torch.arange(drawn.shape[1])
        lines = {f"sample {i + 1}": x for i, x in enumerate(drawn)}
        lines |= {f"data {i + 1}, 20 higher": x + 20 for i, x in enumerate(data.held_out[:3])}
        return Curve(time, lines)

    return by_likelihood(WaveNet(data.grades, length=data.event_shape[0]), figure=figure)


def image_gpt(data: DataSet) -> Learner:
    """Two blocks of 64 for images of up to a hundred pixels, more for larger ones."""
    deep = {"dim": 64, "heads": 4, "depth": 2 if math.prod(data.event_shape) < 100 else 6}
    return by_likelihood(ImageGPT(data.event_shape, data.grades, **deep))


def on_images(family: Callable[..., nn.Module], **sizes: int) -> Callable[[DataSet], Learner]:
    """A recipe's `build` for a family that takes an image shape, a number of levels and sizes."""
    return lambda data: by_likelihood(family(data.event_shape, data.grades, **sizes))


EXCESS = Goal("excess_nats", at_least=-0.1, at_most=3.0)
WITHOUT_CONVOLUTIONS = Goal("excess_nats", at_least=-0.1, at_most=6.0)  # MADE was at 3.0 after half a minute

RECIPES: dict[str, Recipe] = {
    "nade": Recipe(
        lambda data: flat(NADE(math.prod(data.event_shape), 128), lr=1e-2), BINARY, (WITHOUT_CONVOLUTIONS,), minutes=0.5
    ),
    "made": Recipe(
        lambda data: flat(MADE(math.prod(data.event_shape), (256, 256))), BINARY, (WITHOUT_CONVOLUTIONS,), minutes=0.5
    ),
    "wavenet": Recipe(
        waves, ("waves",), (Goal("excess_nats", at_least=-1.0, at_most=3.0),), minutes=0.7, batch_size=64
    ),
    "row-lstm": Recipe(on_images(RowLSTM, first_kernel=5), IMAGES, (EXCESS,), minutes=1.0, batch_size=64),
    "diagonal-bilstm": Recipe(on_images(DiagonalBiLSTM, first_kernel=5), IMAGES, (EXCESS,), minutes=1.0),
    "pixelcnn": Recipe(on_images(PixelCNN, features=24), IMAGES, (EXCESS,), minutes=0.7),
    "gated-pixelcnn": Recipe(on_images(GatedPixelCNN, first_kernel=5), IMAGES, (EXCESS,), minutes=0.8),
    "conditional-pixelcnn": Recipe(
        lambda data: by_class(ConditionalPixelCNN(data.event_shape, data.grades, 10)),
        ("drawn-binary", "digits-binary", "digits", "drawn-16", "mnist", "cifar10"),
        (Goal("nll_nats", at_most=16.5), Goal("class_accuracy", at_least=0.88)),
        minutes=1.0,
    ),
    "pixelcnn-pp": Recipe(
        on_images(PixelCNNPlusPlus, features=24, resolutions=2),
        ("drawn-16", "digits", "drawn", "mnist", "cifar10"),
        (Goal("bits_per_dim", at_most=1.7),),
        minutes=4.0,
    ),
    "image-gpt": Recipe(image_gpt, IMAGES, (EXCESS,), minutes=1.0, batch_size=64),
}
