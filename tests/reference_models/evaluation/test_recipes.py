"""The recipe of the digit classifier steps and states the number its goal is about."""

from __future__ import annotations

import torch

from reference_models.data import load
from reference_models.evaluation.recipes import RECIPES
from reference_models.recipes import Images


def test_the_learner_steps_and_states_its_goal(device, generator):
    recipe = RECIPES["digit-classifier"]
    data = load("digits", size=64, device=device)
    torch.set_default_dtype(torch.float32)  # as in training; the fixture puts float64 back
    learner = recipe.build(data)
    first = learner.step(data.train, data.train_labels, generator=generator)["loss"]
    for _ in range(10):
        last = learner.step(data.train, data.train_labels, generator=generator)["loss"]
    assert last < first
    learner.eval()
    metrics = learner.metrics(data, generator=generator)
    assert 0 <= metrics["accuracy"] <= 1
    assert metrics["frechet_digits"] > 0
    figure = learner.figure(data, generator=generator)
    assert isinstance(figure, Images)
    assert figure.pixels.shape == (64, 1, 8, 8)
