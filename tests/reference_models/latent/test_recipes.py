"""The recipes: each takes its steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reference_models.data import DataSet, load
from reference_models.latent.recipes import RECIPES
from reference_models.recipes import train

WITHOUT_WEIGHTS = ("gaussian-mixture", "ppca")  # replaced whole at each step of EM
CHOICES = [(name, recipe.data[0]) for name, recipe in RECIPES.items()]


def small(name: str, device: torch.device) -> DataSet:
    """Few examples, but more of digits than their features have dimensions, as an interval asks for."""
    data, few = load(name, device=device, dtype=torch.get_default_dtype()), 80 if name == "digits" else 60
    return replace(
        data,
        train=data.train[:64],
        held_out=data.held_out[:few],
        train_labels=None if data.train_labels is None else data.train_labels[:64],
        held_out_labels=None if data.held_out_labels is None else data.held_out_labels[:few],
    )


@pytest.mark.parametrize(("name", "data"), CHOICES)
def test_every_recipe_takes_its_steps_and_moves_its_weights(
    name: str, data: str, device: torch.device, generator: torch.Generator
) -> None:
    """Three steps: where training has stages, each is entered. What is measured is seen when a recipe is recorded."""
    recipe, few = RECIPES[name], small(data, device)
    learner = recipe.build(few).to(device)
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    history = train(learner, few, minutes=5, batch_size=16, generator=generator, steps=3)
    assert history.steps == 3
    moved = learner.state_dict()
    assert name in WITHOUT_WEIGHTS or any(not torch.equal(value, moved[key]) for key, value in before.items())
