"""The recipes: each takes its steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reference_models.data import DataSet, load
from reference_models.diffusion.recipes import RECIPES
from reference_models.diffusion.recipes_plane import Level, excess_loss
from reference_models.diffusion.recipes_symbols import spread_times
from reference_models.recipes import train

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
    assert any(not torch.equal(value, moved[key]) for key, value in before.items())


def test_the_true_score_has_no_excess_loss_and_a_shifted_one_the_shift_squared(
    device: torch.device, generator: torch.Generator
) -> None:
    """ε* = −σ ∇ log p of the noised mixture, with covariances a² Σ + σ² I written out by autograd of its density."""
    data = load("mixture", device=device, dtype=torch.get_default_dtype())
    assert data.target is not None
    a, sigma = torch.tensor(0.8), torch.tensor(0.6)
    law = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(data.target.weights),
        torch.distributions.MultivariateNormal(0.8 * data.target.means, (0.64 * 0.09 + 0.36) * torch.eye(2)),
    )

    def best(x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            x = x.clone().requires_grad_()
            return -sigma * torch.autograd.grad(law.log_prob(x).sum(), x)[0]

    exact, off = Level(a, sigma, best), Level(a, sigma, lambda x: best(x) + 0.3)
    assert excess_loss([exact], data, generator)["excess_loss"] < 1e-20
    assert excess_loss([exact, off], data, generator)["excess_loss"] == pytest.approx(0.045, abs=1e-12)


def test_times_are_uniform_each_and_even_together(device: torch.device, generator: torch.Generator) -> None:
    """64 times of 32: each twice. Over 2000 draws of 5 all times occur equally often, within 5 standard errors."""
    assert torch.bincount(spread_times(64, 32, generator, device), minlength=32).tolist() == [2] * 32
    counts = sum(torch.bincount(spread_times(5, 32, generator, device), minlength=32) for _ in range(2000))
    assert int((counts - 10000 / 32).abs().max()) < 5 * (10000 / 32) ** 0.5
