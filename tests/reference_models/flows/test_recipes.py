"""The recipes: the numbers that their metrics are made of."""

from __future__ import annotations

import numpy as np
import scipy.stats
import torch

from reference_models.data import load
from reference_models.flows.ffjord import FFJORD, ConcatSquashField
from reference_models.flows.neural_ode import CNF
from reference_models.flows.recipes_images import levels_of
from reference_models.flows.recipes_plane import gaussian_nll, plane_metrics, solved_finely
from tests.reference_models.helpers import close, numpy, perturb


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
