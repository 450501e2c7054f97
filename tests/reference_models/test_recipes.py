"""The training loop: batches, time, annealing, and what it does when a loss is no number."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from reference_models.data import load
from reference_models.recipes import Curve, DivergedError, Goal, Minimise, Recipe, batches, cosine, train
from tests.reference_models.helpers import close


class Mean(nn.Module):
    """One parameter, to be pulled towards the data."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(2))


def learner(loss=lambda model, x, y, generator: ((x - model.mean) ** 2).sum(1).mean(), **options) -> Minimise:
    return Minimise(
        Mean(),
        loss=loss,
        metrics=lambda model, data, generator: {"mean": float(model.mean.detach().mean())},
        figure=lambda model, data, generator: Curve(torch.zeros(1), {}),
        **options,
    )


def moons(device, size=20):
    return load("moons", size=size, dtype=torch.float64, device=device)


def test_each_pass_shows_every_example_at_most_once_with_its_label(device, generator):
    data = moons(device)
    data = replace(data, train_labels=torch.arange(20))
    stream = batches(data, 6, generator)
    orders = []
    for _ in range(2):
        seen = [next(stream) for _ in range(3)]
        labels = torch.cat([y for _, y in seen])
        assert len(set(labels.tolist())) == 18
        assert close(torch.cat([x for x, _ in seen]), data.train[labels], 0.0)
        orders.append(labels.tolist())
    assert orders[0] != orders[1]


def test_a_batch_is_at_most_all_there_is(device, generator):
    x, y = next(batches(replace(moons(device), train_labels=None), 1000, generator))
    assert x.shape == (20, 2)
    assert y is None


def test_adam_finds_the_mean_and_the_rate_falls_along_a_cosine(device, generator):
    data, found = moons(device), learner(lr=0.1, decay=True)
    rates: list[float] = []

    def note(history):
        rates.append(found._optimiser.param_groups[0]["lr"])

    history = train(found, data, minutes=5, batch_size=20, generator=generator, steps=200, on_step=note)
    assert close(found.model.mean.detach(), data.train.mean(0), 1e-3)
    assert history.steps == len(history.losses["loss"]) == 200
    expected = [0.1 * 0.5 * (1 + math.cos(math.pi * k / 200)) for k in range(200)]
    assert rates == pytest.approx(expected, abs=1e-4)  # a little later where time passed faster than steps
    assert found.progress == 1.0
    assert [cosine(p) for p in (0.0, 0.5, 1.0, 2.0)] == pytest.approx([1.0, 0.5, 0.0, 0.0], abs=1e-7)


def test_gradients_are_clipped_to_their_norm(device, generator):
    free, clipped = learner(lr=1.0), learner(lr=1.0, clip=1e-3)
    data = moons(device)
    for model in (free, clipped):
        model.step(data.train + 100, None, generator=generator)
    assert float(free.model.mean.grad.norm()) > 100
    assert float(clipped.model.mean.grad.norm()) == pytest.approx(1e-3, rel=1e-3)


def test_time_is_up_when_it_is_up(device, generator):
    start = time.perf_counter()
    history = train(learner(), moons(device), minutes=0.002, batch_size=4, generator=generator)
    assert history.steps > 0
    assert 0.12 <= history.seconds <= 0.12 + 1.0
    assert time.perf_counter() - start < 30


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_stops_the_run(device, generator, bad):
    seen = []

    def loss(model, x, y, generator):
        seen.append(0)
        return model.mean.sum() + (bad if len(seen) == 3 else 0.0)

    with pytest.raises(DivergedError, match=f"after 2 steps loss is {bad}"):
        train(learner(loss), moons(device), minutes=1, batch_size=4, generator=generator)


def test_time_that_is_over_at_once_is_enough_for_a_step(device, generator):
    assert train(learner(), moons(device), minutes=1e-12, batch_size=4, generator=generator).steps == 1


def test_a_run_of_no_steps_is_refused(device, generator):
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        train(learner(), moons(device), minutes=1, batch_size=4, generator=generator, steps=0)


def test_a_recipe_names_its_data_and_has_time():
    def build(data):
        return learner()

    with pytest.raises(ValueError, match="must name the data sets it takes, got none"):
        Recipe(build, (), ())
    with pytest.raises(ValueError, match="minutes must be positive, got 0"):
        Recipe(build, ("moons",), (Goal("x", at_most=1),), minutes=0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        Recipe(build, ("moons",), (Goal("x", at_most=1),), batch_size=0)
    with pytest.raises(ValueError, match="lr must be positive, got -1"):
        learner(lr=-1)
