"""The recipes: the numbers that their metrics are made of."""

from __future__ import annotations

import pytest
import torch

from reference_models.data import load
from reference_models.diffusion.recipes_plane import Level, excess_loss
from reference_models.diffusion.recipes_symbols import spread_times


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
