"""The recipes: the numbers that their metrics are made of."""

from __future__ import annotations

import pytest
import torch

from reference_models.data import load
from reference_models.foundations.recipes import moment_match, target_of
from tests.reference_models.helpers import close


def test_the_matched_gaussian_has_the_targets_moments():
    target = target_of(load("mixture", dtype=torch.float64))
    matched = moment_match(target)
    assert close(matched.means[0], target.mean, 1e-12)
    assert close(matched.covariances[0], target.covariance, 1e-12)


def test_data_of_unknown_density_are_refused():
    with pytest.raises(ValueError, match="this needs data of known density, and that of 'moons' is not"):
        target_of(load("moons", size=8))
