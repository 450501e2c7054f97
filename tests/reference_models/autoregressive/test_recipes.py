"""The recipes: the numbers that their metrics are made of."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Generator, Tensor, nn

from reference_models.autoregressive.recipes import CHUNK, by_class, drawn, likelihood_metrics, mean_log_prob, measured
from reference_models.data import DataSet, load
from tests.reference_models.helpers import close


def small(name: str, device: torch.device, held_out: int = 8) -> DataSet:
    data = load(name, device=device, dtype=torch.get_default_dtype())

    def first(x: Tensor | None, n: int) -> Tensor | None:
        return None if x is None else x[:n]

    return replace(
        data,
        train=data.train[:64],
        held_out=data.held_out[:held_out],
        train_labels=first(data.train_labels, 64),
        held_out_labels=first(data.held_out_labels, held_out),
    )


class Even(nn.Module):
    """The same probability for every image of binary pixels."""

    def log_prob(self, x: Tensor) -> Tensor:
        return -x.flatten(1).new_full((len(x),), x[0].numel() * math.log(2))


def test_even_odds_cost_one_bit_a_dimension_and_the_excess_is_above_the_entropy(
    device: torch.device, generator: Generator
) -> None:
    data = small("bars", device)
    assert data.entropy is not None
    metrics = likelihood_metrics(Even(), data, generator)
    assert abs(metrics["bits_per_dim"] - 1) < 1e-12
    assert abs(metrics["nll_nats"] - 16 * math.log(2)) < 1e-12
    assert abs(metrics["excess_nats"] - (16 * math.log(2) - data.entropy)) < 1e-12
    assert "excess_nats" not in likelihood_metrics(Even(), small("digits-binary", device), generator)


def test_the_mean_over_held_out_examples_is_over_all_of_them_each_with_its_label(device: torch.device) -> None:
    """A number of examples that no chunk divides."""
    n = 2 * CHUNK + 7
    x, y = torch.randn(n, 1), torch.randint(0, 10, (n,))
    data = replace(load("bars", size=1), held_out=x, held_out_labels=y)
    assert abs(mean_log_prob(data, lambda x, y: x[:, 0] * y) - float((x[:, 0] * y).mean())) < 1e-12


class Labelled(nn.Module):
    """Finds the class that stands in the first pixel; log p(x | class) is minus the class."""

    def log_prob(self, x: Tensor, *, condition: Tensor) -> Tensor:
        return -condition.to(x.dtype)

    def class_log_prob(self, x: Tensor) -> Tensor:
        return torch.log_softmax(nn.functional.one_hot(x[:, 0, 0, 0].long(), 10).to(x.dtype), dim=-1)


def test_class_accuracy_is_the_share_of_classes_found(device: torch.device, generator: Generator) -> None:
    labels = torch.arange(12) % 10
    images = labels[:, None, None, None].expand(12, 1, 8, 8).to(torch.get_default_dtype()).clone()
    images[:3] = 9 - images[:3]  # three of twelve lie
    data = replace(small("digits", device), held_out=images, held_out_labels=labels)
    model = Labelled()
    model.weight = nn.Parameter(torch.zeros(()))  # an optimiser wants one
    metrics = by_class(model).metrics(data, generator=generator)  # type: ignore[arg-type]
    assert metrics["class_accuracy"] == 9 / 12
    assert close(torch.tensor(metrics["nll_nats"]), labels.double().mean().to(torch.get_default_dtype()), 1e-12)


def test_large_images_are_measured_on_fewer_and_few_are_drawn() -> None:
    """Of 2000 examples every one, every second, every sixth, with its label; 2¹³ numbers are drawn, or 4 images."""
    for shape, every, shown in (((1, 4, 4), 1, 36), ((1, 28, 28), 2, 10), ((3, 32, 32), 6, 4)):
        x, y = torch.zeros(2000, *shape), torch.arange(2000)
        data = replace(load("bars", size=1), held_out=x, held_out_labels=y, event_shape=shape)
        examples, labels = measured(data)
        assert (len(examples), drawn(data)) == (math.ceil(2000 / every), shown)
        assert labels is not None
        assert labels.tolist() == list(range(0, 2000, every))
