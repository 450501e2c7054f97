"""Every recipe trains on its own data, measures what its goals name and draws; and takes a step on files of images."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from reference_models.catalogue import families
from reference_models.data import DataSet, load
from reference_models.recipes import Curve, Images, Points, recipe_of, train
from tests.reference_models.files import write_cifar10, write_mnist

RECIPES = {family.name: recipe for family in families() if (recipe := recipe_of(family)) is not None}
FIRST = {recipe.build.__module__: name for name, recipe in reversed(RECIPES.items())}  # one of each file of recipes
RUNS = [
    *(
        pytest.param(name, recipe.data[0], marks=() if name in FIRST.values() else pytest.mark.slow)
        for name, recipe in RECIPES.items()
    ),
    ("realnvp", "digits"),
    pytest.param("maf", "checkerboard", marks=pytest.mark.slow),
]
ON_FILES = [(name, data) for name, recipe in RECIPES.items() for data in ("mnist", "cifar10") if data in recipe.data]
IN_CLOSED_FORM = ("gaussian-mixture", "ppca")  # EM replaces their weights whole


def few_of(data: DataSet, held_out: int) -> DataSet:
    def first(x: Tensor | None, n: int) -> Tensor | None:
        return None if x is None else x[:n]

    return replace(
        data,
        train=data.train[:64],
        held_out=data.held_out[:held_out],
        train_labels=first(data.train_labels, 64),
        held_out_labels=first(data.held_out_labels, held_out),
    )


@pytest.mark.parametrize(("name", "data"), RUNS)
def test_a_recipe_trains_and_measures_what_its_goals_name(name: str, data: str, device, generator):
    """Three steps: where training has stages, each is entered. Of digits more than their features have dimensions."""
    torch.set_default_dtype(torch.float32)  # as in training; the fixture puts float64 back
    recipe = RECIPES[name]
    few = few_of(load(data, size=64, device=device), held_out=80 if data.startswith("digits") else 120)
    learner = recipe.build(few)
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    history = train(learner, few, minutes=5, batch_size=16, generator=generator, steps=3)
    assert history.steps == 3
    after = learner.state_dict()
    assert name in IN_CLOSED_FORM or any(not torch.equal(old, after[key]) for key, old in before.items())

    learner.eval()
    metrics = learner.metrics(few, generator=generator.manual_seed(1))
    restored = recipe.build(few)
    restored.load_state_dict(after)
    if name != "ddpm-unet":  # whose numbers take a quarter of a minute; `dit` has the same learner
        again = restored.eval().metrics(few, generator=generator.manual_seed(1))
        assert again == pytest.approx(metrics, rel=1e-4, abs=1e-4)
    if data == recipe.data[0]:
        assert {goal.metric for goal in recipe.goals} <= set(metrics)
    assert not any(math.isnan(value) for value in metrics.values())

    figure = learner.figure(few, generator=generator)
    assert isinstance(figure, Images | Points | Curve)
    if isinstance(figure, Images):
        assert len(figure.sheets) >= 2  # samples beside data
        for pixels in figure.sheets.values():
            assert pixels.shape[1:] == few.train.shape[1:]
            assert 0 <= float(pixels.min()) <= float(pixels.max()) <= 1

    model = learner.trained()
    assert isinstance(model, torch.nn.Module)
    assert learner is not model or name == "langevin"
    assert type(model).__module__.startswith(("reference_models.", "torch.nn."))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DataSet]:
    """Some sixty training images of each, in single precision, on the CPU."""
    torch.set_default_device(None)
    folder = tmp_path_factory.mktemp("files")
    list(write_mnist(folder, packed=True, sizes=(64, 8)))
    list(write_cifar10(folder, binary=False, size=12))
    return {name: load(name, path=folder) for name in ("mnist", "cifar10")}


@pytest.mark.parametrize(("name", "images"), ON_FILES)
def test_a_recipe_takes_a_step_on_the_images_it_names(name: str, images: str, written, device):
    torch.set_default_dtype(torch.float32)  # as in training; the fixture puts float64 back
    data = written[images]
    data = replace(data, train=data.train.to(device), train_labels=data.train_labels.to(device))
    learner = RECIPES[name].build(data).train()
    before = [parameter.detach().clone() for parameter in learner.parameters() if parameter.requires_grad]
    generator = torch.Generator(device).manual_seed(0)
    losses = learner.step(data.train[:2], data.train_labels[:2], generator=generator)
    assert losses
    assert all(math.isfinite(loss) for loss in losses.values())
    after = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
