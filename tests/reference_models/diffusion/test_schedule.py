"""Noise schedules against products of β in fifty-digit arithmetic and the papers' formulas."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext

import pytest
import torch

from reference_models.diffusion.schedule import Schedule
from tests.reference_models.helpers import close

BETAS = [0.1, 0.3, 0.05, 0.6, 0.2]


def products(betas: list[float]) -> list[float]:
    getcontext().prec = 50
    out, product = [], Decimal(1)
    for beta in betas:
        product *= 1 - Decimal(beta)
        out.append(float(product))
    return out


def test_alpha_bars_are_products_of_one_minus_beta():
    for schedule in (Schedule(torch.tensor(BETAS)), Schedule.linear(1000), Schedule.cosine(50)):
        betas = schedule.betas.tolist()
        assert close(schedule.alpha_bars, torch.tensor(products(betas)), 1e-12)


def test_betas_are_those_given():
    schedule = Schedule(torch.tensor(BETAS))
    assert schedule.steps == 5
    assert close(schedule.betas, torch.tensor(BETAS), 1e-14)


def test_linear_is_the_schedule_of_ho_et_al():
    schedule = Schedule.linear()
    expected = torch.tensor([1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)])
    assert close(schedule.betas, expected, 1e-12)
    assert 3e-5 < float(schedule.alpha_bars[-1]) < 5e-5  # almost nothing is left of the data
    assert bool((schedule.alpha_bars.diff() < 0).all())


def test_scaled_linear_has_the_same_end_in_fewer_steps():
    schedule = Schedule.scaled_linear(100)
    expected = torch.tensor([0.001 + (0.2 - 0.001) * i / 99 for i in range(100)])
    assert close(schedule.betas, expected, 1e-12)
    assert float(schedule.alpha_bars[-1]) < 1e-3


def test_cosine_is_the_schedule_of_nichol_and_dhariwal():
    def f(t: int) -> float:
        return math.cos((t / 40 + 0.008) / 1.008 * math.pi / 2) ** 2

    schedule = Schedule.cosine(40)
    expected = torch.tensor([min(1 - f(t) / f(t - 1), 0.999) for t in range(1, 41)])
    assert close(schedule.betas, expected, 1e-12)
    assert close(schedule.alpha_bars[:39], torch.tensor([f(t) / f(0) for t in range(1, 40)]), 1e-12)
    assert math.isclose(float(schedule.betas[-1]), 0.999)  # the cap is at work


def test_given_alpha_bars_come_back():
    alpha_bars = torch.tensor([0.9, 0.5, 0.2, 0.01])
    assert close(Schedule.from_alpha_bars(alpha_bars).alpha_bars, alpha_bars, 1e-14)


def test_the_data_are_index_minus_one():
    schedule = Schedule(torch.tensor(BETAS))
    x = torch.zeros(3, 2)
    assert close(schedule.alpha_bar(-1, x), torch.ones(1, 1), 0)
    assert close(schedule.variance(-1, x), torch.zeros(1, 1), 0)
    assert close(schedule.alpha_between(0, -1, x), torch.full((1, 1), 0.9), 1e-14)


def test_values_broadcast_against_the_event():
    schedule = Schedule(torch.tensor(BETAS))
    t = torch.tensor([4, 0, -1])
    expected = torch.tensor([products(BETAS)[4], 0.9, 1.0])
    assert close(schedule.alpha_bar(t, torch.zeros(3, 1, 2, 2)), expected.reshape(3, 1, 1, 1), 1e-14)
    assert close(schedule.variance(t, torch.zeros(3)), 1 - expected, 1e-14)
    assert schedule.alpha_bar(2, torch.zeros(7)).shape == (1,)


def test_steps_together_multiply():
    """ᾱ_t/ᾱ_s is the product of the steps between, and 1 − ᾱ_t/ᾱ_s their variance."""
    schedule = Schedule(torch.tensor(BETAS))
    one = torch.zeros(())
    for t in range(5):
        for s in range(-1, t):
            product = math.prod(1 - b for b in BETAS[s + 1 : t + 1])
            assert close(schedule.alpha_between(t, s, one), product, 1e-14)
            assert close(schedule.beta_between(t, s, one), 1 - product, 1e-14)


def test_log_snr_is_signal_over_noise():
    schedule = Schedule(torch.tensor(BETAS))
    for t, alpha_bar in enumerate(products(BETAS)):
        assert close(schedule.log_snr(t, torch.zeros(())), math.log(alpha_bar / (1 - alpha_bar)), 1e-12)


def test_float32_keeps_the_digits_of_small_variances():
    """1 − ᾱ computed from a rounded ᾱ would be off by some percent at β = 1e-6."""
    schedule = Schedule(torch.tensor([1e-6, 2e-6, 0.5], dtype=torch.float32))
    x = torch.zeros(1, dtype=torch.float32)
    assert schedule.variance(0, x).dtype == torch.float32
    assert math.isclose(float(schedule.variance(0, x)), 1e-6, rel_tol=1e-6)
    assert math.isclose(float(schedule.variance(1, x)), 3e-6, rel_tol=1e-5)
    assert math.isclose(float(schedule.beta_between(1, 0, x)), 2e-6, rel_tol=1e-5)


def test_pairs_run_from_noise_to_data():
    schedule = Schedule(torch.tensor(BETAS))
    assert schedule.pairs() == [(4, 3), (3, 2), (2, 1), (1, 0), (0, -1)]
    assert schedule.pairs([1, 4]) == [(4, 1), (1, -1)]


def test_a_schedule_moves_with_its_module():
    schedule = Schedule(torch.tensor(BETAS))
    assert schedule.state_dict().keys() == {"log_alpha_bars"}
    assert schedule.float().alpha_bars.dtype == torch.float32


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_betas_outside_the_unit_interval_are_refused(bad):
    with pytest.raises(ValueError, match=r"every beta must lie in \(0, 1\)"):
        Schedule(torch.tensor([0.5, bad]))


def test_no_step_at_all_is_refused():
    with pytest.raises(ValueError, match="T at least 1"):
        Schedule(torch.zeros(0))
    with pytest.raises(ValueError, match="steps must be at least 1"):
        Schedule.cosine(0)


def test_a_schedule_that_does_not_decrease_is_refused():
    with pytest.raises(ValueError, match="alpha_bars must decrease strictly"):
        Schedule.from_alpha_bars(torch.tensor([0.5, 0.6]))
    with pytest.raises(ValueError, match="alpha_bars must decrease strictly"):
        Schedule.from_alpha_bars(torch.tensor([0.9, 0.5, 0.6]))


def test_times_outside_the_schedule_are_refused():
    schedule = Schedule(torch.tensor(BETAS))
    for t in (5, -2, torch.tensor([0, 7]), torch.tensor(0.5)):
        with pytest.raises(ValueError, match=r"t must be integers in -1\.\.4"):
            schedule.alpha_bar(t, torch.zeros(2))
    with pytest.raises(ValueError, match="times must increase strictly"):
        schedule.pairs([0, 0])
    with pytest.raises(ValueError, match=r"times must be indices in 0\.\.4"):
        schedule.pairs([])


def test_a_step_that_does_not_go_forward_is_refused():
    schedule, like = Schedule(torch.tensor(BETAS)), torch.zeros(3)
    for t, s in ((2, 2), (1, 3), (torch.tensor([2, 1, 2]), torch.tensor([1, 1, 0]))):
        for between in (schedule.alpha_between, schedule.beta_between):
            with pytest.raises(ValueError, match="a step goes from s to a later t, got s = "):
                between(t, s, like)
