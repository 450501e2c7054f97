"""Every recipe that names MNIST or CIFAR-10 can be built for it and takes a step, on files of the real format."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from reference_models.catalogue import families
from reference_models.data import DataSet, load
from reference_models.recipes import recipe_of
from tests.reference_models.files import write_cifar10, write_mnist

FOLLOWED = [
    (family, name)
    for family in families()
    for name in ("mnist", "cifar10")
    if (recipe := recipe_of(family)) is not None and name in recipe.data
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DataSet]:
    """Some sixty training images of each, in single precision, on the CPU."""
    torch.set_default_device(None)
    folder = tmp_path_factory.mktemp("files")
    list(write_mnist(folder, packed=True, sizes=(64, 8)))
    list(write_cifar10(folder, binary=False, size=12))
    return {name: load(name, path=folder) for name in ("mnist", "cifar10")}


@pytest.mark.parametrize(("family", "name"), FOLLOWED, ids=[f"{family.name}-{name}" for family, name in FOLLOWED])
def test_a_recipe_takes_a_step_on_the_images_it_names(family, name, written, device):
    torch.set_default_dtype(torch.float32)  # as in training; the fixture puts float64 back
    torch.set_default_device(None)
    recipe = recipe_of(family)
    assert recipe is not None
    data = written[name]
    data = replace(data, train=data.train.to(device), train_labels=data.train_labels.to(device))
    learner = recipe.build(data).to(device).train()
    before = [parameter.detach().clone() for parameter in learner.parameters() if parameter.requires_grad]
    generator = torch.Generator(device).manual_seed(0)
    losses = learner.step(data.train[:2], data.train_labels[:2], generator=generator)
    assert losses
    assert all(math.isfinite(loss) for loss in losses.values())
    after = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
