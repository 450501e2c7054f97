"""The recipes: one step of each, its metrics, and the numbers its metrics are made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch

from reference_models.data import DataSet, load
from reference_models.flows.ffjord import FFJORD, ConcatSquashField
from reference_models.flows.neural_ode import CNF
from reference_models.flows.recipes import RECIPES
from reference_models.flows.recipes_images import levels_of
from reference_models.flows.recipes_plane import gaussian_nll, plane_metrics, solved_finely
from reference_models.recipes import Images, Points, train
from tests.reference_models.helpers import close, numpy, perturb


def small(name: str, device: torch.device) -> DataSet:
    data = load(name, device=device, dtype=torch.get_default_dtype())
    return replace(data, train=data.train[:64], held_out=data.held_out[:8], train_labels=None, held_out_labels=None)


CHOICES = [(name, data) for name, recipe in RECIPES.items() for data in recipe.data[:1]]


@pytest.mark.parametrize(("name", "data"), [*CHOICES, ("realnvp", "digits"), ("maf", "checkerboard")])
def test_every_recipe_takes_a_step_and_measures_what_its_goals_name(
    name: str, data: str, device: torch.device, generator: torch.Generator
) -> None:
    recipe, few = RECIPES[name], small(data, device)
    learner = recipe.build(few).to(device)
    history = train(learner, few, minutes=5, batch_size=32, generator=generator, steps=1)
    assert history.steps == 1
    learner.eval()
    metrics = learner.metrics(few, generator=generator)
    if data == recipe.data[0]:
        assert {goal.metric for goal in recipe.goals} <= set(metrics)
    assert all(np.isfinite(value) for value in metrics.values())
    figure = learner.figure(few, generator=generator)
    if isinstance(figure, Images):
        assert figure.pixels.shape[1:] == few.event_shape
        assert float(figure.pixels.min()) >= 0
        assert float(figure.pixels.max()) <= 1
    else:
        assert isinstance(figure, Points)
        assert figure.samples.shape == (2000, 2)


def test_pixels_become_the_levels_they_were_made_of() -> None:
    levels = torch.arange(17)
    assert torch.equal(levels_of(levels / 16, 17), levels.to(torch.get_default_dtype()))


def test_the_best_gaussian_is_that_of_the_moments() -> None:
    """SciPy's normal with the biased covariance, which maximises the likelihood."""
    train_points, held_out = torch.randn(50, 3) @ torch.randn(3, 3) + 1, torch.randn(20, 3)
    x = numpy(train_points)
    best = scipy.stats.multivariate_normal(x.mean(0), np.cov(x.T, ddof=0))
    assert abs(gaussian_nll(train_points, held_out) + best.logpdf(numpy(held_out)).mean()) < 1e-9


def test_the_excess_of_the_true_density_is_zero_within_sampling_error(
    device: torch.device, generator: torch.Generator
) -> None:
    """4000 points: the standard error of the mean of -log p is 0.02 nats; 5 of them."""
    data = load("mixture", device=device, dtype=torch.get_default_dtype())
    assert data.target is not None
    metrics = plane_metrics(data.target, data, generator)  # type: ignore[arg-type]
    assert abs(metrics["excess_nats"]) < 0.1
    assert metrics["within_4_sigma"] > 0.99
    assert metrics["modes_covered"] == 4


def test_the_fine_solver_is_that_of_many_steps() -> None:
    field = perturb(ConcatSquashField(2, (8,)), 0.3)
    x = torch.randn(5, 2)
    with torch.no_grad():
        fine = solved_finely(FFJORD(field, (2,), steps=4)).log_prob(x)
        many = CNF(field, (2,), steps=60).log_prob(x)
    assert close(fine, many, 1e-3)
