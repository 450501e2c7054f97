"""Quality as excess over a known entropy, with points on a line, and leaks below it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from autograder.checks import (
    PartialCredit,
    assert_excess,
    assert_same_law,
    assert_score,
    score_line,
    state_index,
)
from tests.autograder.vocabulary.bars import bars, entropy, log_law
from tests.autograder.vocabulary.students import fails, generator


def test_the_bars_have_the_published_entropy() -> None:
    assert entropy() == pytest.approx(6.496, abs=5e-4)


@pytest.mark.parametrize(
    ("value", "share"),
    [(0.5, 0.0), (0.6, 0.0), (0.2, 1.0), (0.1, 1.0), (0.35, 0.5), (math.nan, 0.0), (math.inf, 0.0), (-math.inf, 1.0)],
)
def test_points_lie_on_a_line_between_floor_and_target(value: float, share: float) -> None:
    assert score_line(value, floor=0.5, target=0.2) == pytest.approx(share)
    assert score_line(-value, floor=-0.5, target=-0.2) == pytest.approx(share)


def test_between_floor_and_target_a_share_is_earned() -> None:
    assert_score(0.95, floor=0.6, target=0.9, what="precision")
    with pytest.raises(PartialCredit) as caught:
        assert_score(0.8, floor=0.6, target=0.9, what="precision")
    assert caught.value.fraction == pytest.approx(2 / 3)
    assert caught.value.message == "precision is 0.800; full points need at least 0.9, 0.6 earns none"
    fails(lambda: assert_score(0.6, floor=0.6, target=0.9, what="precision"), says="precision is 0.600")
    fails(lambda: assert_score(math.nan, floor=0.6, target=0.9, what="precision"))
    with pytest.raises(ValueError, match="must differ"):
        assert_score(0.6, floor=0.6, target=0.6, what="precision")


def nll_of(law: Tensor, x: Tensor) -> Tensor:
    return -law[state_index(x)]


def truth(x: Tensor) -> Tensor:
    return nll_of(log_law(), x)


EXPECTATIONS: dict[str, Callable[[Tensor], Tensor | float]] = {"paired": truth, "number": lambda x: entropy()}


@pytest.mark.parametrize("how", EXPECTATIONS)
@pytest.mark.parametrize("seed", range(30))
def test_the_best_possible_model_gets_full_points_and_is_never_a_leak(how: str, seed: int) -> None:
    x = bars(500, seed)
    assert_excess(truth(x), EXPECTATIONS[how](x), floor=0.6, target=0.3)


def test_honest_models_are_called_leaks_less_often_than_stated() -> None:
    # Level 0.05 instead of 1e-6, so that failures would be seen: true law and a slightly wrong one.
    for flip in (0.05, 0.055):
        leaks = {"paired": 0, "number": 0}
        law = log_law(flip)
        for seed in range(1000):
            x = bars(50, seed)
            for how in leaks:
                try:
                    assert_excess(nll_of(law, x), EXPECTATIONS[how](x), floor=90, target=80, false_failure=0.05)
                except Exception as fault:
                    leaks[how] += "no honest density" in str(fault)
        assert leaks["paired"] <= 50
        assert leaks["number"] <= 80  # normal approximation at 50 values; at 1e-6 and 500 see the test below


def test_the_exact_leak_test_spends_its_rate_where_a_wrong_model_is_often_luckier_than_the_truth() -> None:
    leaks, law = 0, log_law(0.09)
    for seed in range(1000):
        x = bars(10, seed)
        try:
            assert_excess(nll_of(law, x), truth(x), floor=90, target=80, false_failure=0.1)
        except Exception:
            leaks += 1
    assert 5 < leaks <= 100


def test_the_normal_leak_test_keeps_its_rate_on_bars_at_a_size_used_in_grading() -> None:
    law = truth(bars(200_000, 0)).reshape(400, 500)
    z = (law.mean(1) - entropy()) / (law.std(1) / math.sqrt(500))
    assert float(z.min()) > -4.0  # the NLL of bars is skewed to the right, so the left tail is the lighter one


def test_a_single_far_sample_decides_nothing_where_each_counts_with_a_bounded_number_of_nats() -> None:
    x = bars(2000, 0)
    far, poor = truth(x), truth(x) + 1.0
    far[3] += 600.0
    with pytest.raises(PartialCredit):
        assert_excess(far, truth(x), floor=0.6, target=0.2)
    assert_excess(far, truth(x), floor=0.6, target=0.2, at_most=20.0)
    fails(lambda: assert_excess(poor, truth(x), floor=0.6, target=0.2, at_most=20.0), says="excess of")


@pytest.mark.parametrize("flip", [0.02, 0.1, 0.2])
def test_excess_is_the_kullback_leibler_divergence(flip: float) -> None:
    divergence = float((log_law().exp() * (log_law() - log_law(flip))).sum())
    x = bars(4000, 0)
    with pytest.raises(PartialCredit) as caught:
        assert_excess(nll_of(log_law(flip), x), truth(x), floor=2 * divergence, target=0.0)
    assert caught.value.fraction == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("how", EXPECTATIONS)
@pytest.mark.parametrize(
    ("nll", "says"),
    [
        (lambda x: torch.full((len(x),), 0.001, dtype=torch.float64), "below the entropy"),  # mask B in the first layer
        (lambda x: truth(x) / 16, "below the entropy"),  # nats per pixel
        (lambda x: truth(x) - 1.0, "below the entropy"),  # not normalised
        (lambda x: truth(x) * math.nan, "finite"),
        (lambda x: truth(x).index_fill(0, torch.tensor([3]), -math.inf), "finite"),
        (lambda x: truth(x) + 2.58, "excess of"),  # mask without left neighbours
        (lambda x: torch.full((len(x),), 16 * math.log(2), dtype=torch.float64), "excess of"),
        (lambda x: truth(x).index_fill(0, torch.tensor([3]), math.inf), "inf"),  # honest, and worthless
    ],
)
def test_leaks_and_poor_models_earn_nothing(how: str, nll: Callable[[Tensor], Tensor], says: str) -> None:
    for seed in range(5):
        x = bars(500, seed)
        fails(lambda x=x: assert_excess(nll(x), EXPECTATIONS[how](x), floor=0.6, target=0.3), says=says)


def test_a_leak_of_a_twentieth_of_a_nat_is_seen_when_the_law_of_the_data_is_known() -> None:
    x = bars(500, 1)
    fails(lambda: assert_excess(truth(x) - 0.05, truth(x), floor=0.6, target=0.3), says="below the entropy")
    assert_excess(truth(x) - 0.05, entropy(), floor=0.6, target=0.3)  # the number alone cannot tell


def test_two_sets_of_one_law_agree() -> None:
    for seed in range(20):
        assert_same_law(bars(800, seed), bars(3000, seed + 1000), generator=generator(seed))
    x = torch.randn(2000, 3, generator=generator())
    assert_same_law(x, torch.randn(900, 3, generator=generator(1)))


def test_the_two_sample_bound_holds_at_a_level_where_failures_would_be_seen() -> None:
    failures = 0
    for seed in range(400):
        a, b = torch.randn(2, 60, 1, generator=generator(seed)).unbind(0)
        try:
            assert_same_law(a, b, projections=1, false_failure=0.2)
        except Exception:
            failures += 1
    assert failures <= 80


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x + 0.3,
        lambda x: 1.6 * x,
        lambda x: x.abs(),
        lambda x: torch.cat([x[:, :1], x[:, :1], x[:, 2:]], 1),
        lambda x: x[:1].expand_as(x),
        lambda x: torch.zeros_like(x),
        lambda x: x / 0,
        lambda x: x[:, :2],
    ],
)
def test_two_sets_of_different_laws_are_told_apart(wrong: Callable[[Tensor], Tensor]) -> None:
    x, y = torch.randn(2, 3000, 3, generator=generator()).unbind(0)
    fails(lambda: assert_same_law(wrong(x), y, projections=16, generator=generator(5)))
