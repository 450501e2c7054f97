"""Bounds of trained figures against published tables and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from autograder.authoring.lines import (
    Line,
    Spread,
    bound,
    chance_of_all,
    looks_normal,
    proposed,
    same_law_share,
    tolerance_factor,
)

LOSS = Line(floor=23.0, target=18.5)
SHARE = Line(floor=0.2, target=0.9)

# Natrella, Experimental Statistics (1963), table A-7: factors for one-sided limits, confidence 0.95
TABLE = {(10, 0.99): 3.981, (20, 0.99): 3.295, (10, 0.999): 5.203, (25, 0.999): 4.143, (5, 0.95): 4.202}


@pytest.mark.parametrize(("known", "factor"), TABLE.items())
def test_factors_are_those_of_the_published_table(known: tuple[int, float], factor: float) -> None:
    assert tolerance_factor(*known) == pytest.approx(factor, abs=6e-3)


def test_bounds_hold_for_as_many_samples_as_they_say() -> None:
    """Of 4000 experiments of 12 values, 95 % give a bound that 99.9 % of the law stays within; k = 3 would not."""
    values = np.random.default_rng(0).normal(size=(4000, 12))
    k = tolerance_factor(12, 0.999)
    limits = values.mean(1) + k * values.std(1, ddof=1)
    covering = int((stats.norm.cdf(limits) >= 0.999).sum())
    assert stats.binom.cdf(covering, 4000, 0.95) > 1e-6
    assert stats.binom.sf(covering - 1, 4000, 0.95) > 1e-6


def test_a_bound_lies_on_the_worse_side_and_never_before_the_worst_value() -> None:
    spread = Spread((17.5, 17.6, 17.7, 17.6, 17.5, 17.8))
    assert bound(spread, LOSS, 1) > 17.8
    assert bound(spread, LOSS, 3) > bound(spread, LOSS, 1)
    assert bound(spread, LOSS, 1, good=True) < 17.5
    assert bound(Spread((0.9, 0.8, 0.85, 0.87)), SHARE, 1) < 0.8
    lonely = Spread((*(1.0,) * 11, 9.0))
    assert bound(lonely, Line(20.0, 2.0), 1) >= 9.0


def test_a_proposed_target_is_reached_and_a_proposed_floor_leaves_baselines_nothing() -> None:
    solution, means = Spread((17.5, 17.6, 17.7, 17.6, 17.5, 17.8)), Spread((24.5, 24.6, 24.5, 24.55))
    line = proposed(solution, [means], LOSS, 2)
    assert line.target >= bound(solution, LOSS, 2)
    assert line.floor <= bound(means, LOSS, 2, good=True) < 24.5
    assert line.sign == LOSS.sign
    assert proposed(solution, [], LOSS, 2).floor == LOSS.floor
    better = proposed(Spread((0.9, 0.8, 0.85, 0.87)), [Spread((0.1, 0.11, 0.12, 0.1))], SHARE, 1)
    assert better.floor > 0.12
    assert better.target < 0.8


def test_a_baseline_as_good_as_the_solution_turns_the_line_round() -> None:
    same = Spread((17.5, 17.6, 17.7, 17.6))
    assert proposed(same, [same], LOSS, 1).sign != LOSS.sign


def test_the_chance_of_everything_is_the_normal_one() -> None:
    spread = Spread((1.0, 2.0, 3.0))
    assert chance_of_all(spread, Line(9.0, 2.0)) == pytest.approx(0.5)
    assert chance_of_all(spread, Line(9.0, 3.0)) == pytest.approx(stats.norm.cdf(1.0))
    assert chance_of_all(Spread((1.0, 1.0)), Line(9.0, 2.0)) == 1.0
    assert chance_of_all(Spread((1.0, 1.0)), Line(9.0, 0.5)) == 0.0


def test_values_that_no_normal_law_gives_are_named() -> None:
    assert looks_normal(Spread(tuple(np.random.default_rng(1).normal(size=16))))
    assert not looks_normal(Spread((*np.linspace(1.0, 1.1, 15), 9.0)))


def test_the_share_between_laws_is_that_of_the_simulation() -> None:
    random = np.random.default_rng(2)
    laws, noise = random.normal(size=(4000, 1)), random.normal(size=(4000, 2))
    shares = [same_law_share([*map(tuple, scale * laws + noise)]) for scale in (0.0, 1.0, 3.0)]
    assert shares == pytest.approx([0.0, 0.5, 0.9], abs=0.08)
    assert same_law_share([(1.0, 1.0), (1.0, 1.0)]) == 0.0
