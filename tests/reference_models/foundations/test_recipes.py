"""The recipes of the foundations: every learner steps, and states each number its goals are about."""

from __future__ import annotations

import math

import pytest
import torch

from reference_models.data import load
from reference_models.foundations.recipes import RECIPES, moment_match, target_of
from reference_models.recipes import Curve, Points
from tests.reference_models.helpers import close


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_learner_steps_and_states_its_goals(name, device, generator):
    recipe = RECIPES[name]
    data = load(recipe.data[0], size=64, device=device)
    small = type(data)(**{**vars(data), "held_out": data.held_out[:64]})
    torch.set_default_dtype(torch.float32)  # as in training; the fixture puts float64 back
    learner = recipe.build(small)
    for _ in range(2):
        losses = learner.step(small.train, small.train_labels, generator=generator)
        assert losses
        assert all(math.isfinite(loss) for loss in losses.values())
    metrics = learner.metrics(small, generator=generator)
    assert {goal.metric for goal in recipe.goals} <= set(metrics)
    assert not any(math.isnan(value) for value in metrics.values())
    figure = learner.figure(small, generator=generator)
    assert isinstance(figure, Curve | Points)


def test_the_matched_gaussian_has_the_targets_moments():
    target = target_of(load("mixture", dtype=torch.float64))
    matched = moment_match(target)
    assert close(matched.means[0], target.mean, 1e-12)
    assert close(matched.covariances[0], target.covariance, 1e-12)


def test_data_of_unknown_density_are_refused():
    with pytest.raises(ValueError, match="this needs data of known density, and that of 'moons' is not"):
        target_of(load("moons", size=8))
