"""The numbers that recipes give of samples, under the names that all folders use."""

from __future__ import annotations

import pytest
import torch

from reference_models.data import load
from reference_models.evaluation.features import digit_features
from reference_models.evaluation.frechet import frechet_distance
from reference_models.evaluation.held_out import frechet_digits, modes_found


def test_the_frechet_distance_is_that_of_features_to_the_held_out_digits(device, generator):
    data = load("digits", dtype=torch.float64, device=device)
    found = frechet_digits(data.train[:500], data, generator)
    expected = frechet_distance(digit_features(data.train[:500]), digit_features(data.held_out))
    assert found["frechet_digits"] == pytest.approx(float(expected), abs=1e-6)
    assert found["frechet_digits_low"] < found["frechet_digits_high"]


def test_digits_pass_the_goal_of_ten_and_noisy_or_blurred_ones_do_not(device, generator):
    """The goal of every image recipe: training digits lie below 2, with noise of 0.2 near it, noise of 0.3 or a blur
    of 3×3 pixels above it."""
    data = load("digits", dtype=torch.float64, device=device)
    x = data.train[:1000]
    noise = torch.randn(x.shape, generator=generator, device=device)

    def distance(y: torch.Tensor) -> float:
        return frechet_digits(y.clamp(0, 1), data, generator)["frechet_digits"]

    assert distance(x) < 2
    assert 4 < distance(x + 0.2 * noise) < 10
    assert distance(x + 0.3 * noise) > 10
    assert distance(torch.nn.functional.avg_pool2d(x, 3, 1, 1)) > 10


def test_modes_are_counted_on_the_target_and_named_with_the_suffix(device, generator):
    data = load("mixture", dtype=torch.float64, device=device)
    assert data.target is not None
    one = data.target.means[:1].expand(100, 2)
    assert modes_found(one, data, "_in_1_step") == {"within_4_sigma_in_1_step": 1.0, "modes_covered_in_1_step": 1.0}
    assert modes_found(one + 100, data) == {"within_4_sigma": 0.0, "modes_covered": 0.0}


def test_there_is_nothing_to_say_of_other_data(device, generator):
    assert frechet_digits(torch.zeros(3, 1, 8, 8), load("digits-binary", device=device), generator) == {}
    assert modes_found(torch.zeros(3, 2), load("moons", size=4, device=device)) == {}
