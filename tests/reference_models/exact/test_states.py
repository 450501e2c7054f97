"""States and their numbers against itertools, the test of a law against SciPy's and its own level."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.stats import chi2, chisquare

from reference_models.exact import departs_from_law, every_state, state_number


@pytest.mark.parametrize(("shape", "levels"), [((3,), 2), ((1, 2, 2), 3), ((2, 1), 5)])
def test_every_state_stands_once_the_first_value_changing_slowest(shape, levels):
    n = math.prod(shape)
    expected = torch.tensor(list(itertools.product(range(levels), repeat=n)), dtype=torch.float64) / (levels - 1)
    states = every_state(shape, levels)
    assert torch.equal(states, expected.reshape(-1, *shape))
    assert torch.equal(state_number(states, levels), torch.arange(levels**n))


def test_states_take_dtype_and_device_of_a_tensor():
    assert every_state((2,), like=torch.zeros(1, dtype=torch.float32)).dtype == torch.float32
    assert every_state((2,), like=torch.zeros(1, device="meta")).device.type == "meta"
    with pytest.raises(ValueError, match="levels must be at least 2, got 1"):
        every_state((2,), 1)


def test_samples_are_told_from_a_law_where_scipy_tells_them():
    """At every level but near the p-value itself; each state is expected often, so that no cells are joined."""
    states = every_state((3,))
    p = torch.softmax(torch.randn(8), 0)
    drawn = torch.multinomial(torch.softmax(p.log() + 0.05 * torch.randn(8), 0), 5000, replacement=True)
    p_value = chisquare(torch.bincount(drawn, minlength=8).numpy(), (5000 * p).numpy()).pvalue
    assert departs_from_law(states[drawn], p.log(), level=1.01 * p_value)
    assert not departs_from_law(states[drawn], p.log(), level=0.99 * p_value)


def test_rare_states_are_counted_together(generator):
    """Of 81 states most are expected less than five times; the level holds still, within five standard errors."""
    states, level = every_state((4,), 3), 0.1
    p = torch.softmax(3 * torch.randn(81), 0)
    drawn = torch.multinomial(p, 160_000, replacement=True, generator=generator).split(400)
    told = [departs_from_law(states[rows], p.log(), 3, level=level) for rows in drawn]
    assert abs(sum(told) / 400 - level) < 5 * (level * (1 - level) / 400) ** 0.5


def test_a_law_that_says_nothing_counts_as_a_departure():
    samples = every_state((2,)).repeat(10, 1)
    assert departs_from_law(samples, torch.tensor([0.0, -1e9, -1e9, -1e9]))
    assert departs_from_law(samples[:4], torch.full((4,), 0.25).log())  # fewer than five are expected in all
    assert departs_from_law(samples, torch.full((4,), float("nan")))
    assert departs_from_law(samples, torch.tensor([0.25, 0.25, 0.25, float("nan")]).log())
    assert not departs_from_law(samples, torch.full((4,), 0.25).log())


def test_a_few_expected_ones_left_over_join_the_last_cell():
    """Five states are expected three times each: cells of 6 and 9, the second with the state that was left over."""
    states, p = every_state((3,)), torch.tensor([0.2, 0.2, 0.2, 0.2, 0.2, 0.0, 0.0, 0.0])
    p_value = float(chi2.sf(chisquare([0, 15], [6, 9]).statistic, 1))
    drawn = states[torch.full((15,), 4)]
    assert departs_from_law(drawn, p.log(), level=1.01 * p_value)
    assert not departs_from_law(drawn, p.log(), level=0.99 * p_value)
