"""The vocabulary as a whole: what it exports, what it says of itself, what nothing may pass."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from autograder import checks, vocabulary
from autograder.checks import (
    SolverGradients,
    StudentFault,
    assert_adjoint_matches,
    assert_affine_in,
    assert_binary,
    assert_bound,
    assert_causal,
    assert_close,
    assert_continuous,
    assert_covers_times,
    assert_density,
    assert_depends,
    assert_diverse,
    assert_em_step,
    assert_every_coordinate_moves,
    assert_excess,
    assert_finite,
    assert_frequencies,
    assert_gaussian_kl,
    assert_gradient_equals,
    assert_increasing,
    assert_integrates_to_one,
    assert_inverse,
    assert_log_det,
    assert_mean,
    assert_minimised_at,
    assert_modes_covered,
    assert_moments,
    assert_normalised,
    assert_not_memorised,
    assert_number,
    assert_passes,
    assert_receptive_field,
    assert_reparametrised,
    assert_same_in_any_company,
    assert_same_law,
    assert_samples_follow,
    assert_score,
    assert_standard_normal,
    assert_step_changes_only,
    assert_straight_through,
    assert_trace_estimator,
    assert_works_in,
    change_of_variables,
    retried,
    sequential_log_likelihood,
)


def exported() -> list[str]:
    """The assertions and helpers that checks import from one place."""
    homes = {home: names for home, names in checks.HOMES.items() if home.startswith("autograder.vocabulary.")}
    return [n for home, names in homes.items() if home.split(".")[2] not in ("known_laws", "chance") for n in names]


def test_the_face_has_what_it_names_and_names_it_once() -> None:
    for home, names in checks.HOMES.items():
        module = importlib.import_module(home)
        for name in names:
            assert getattr(checks, name) is getattr(module, name)
    assert len(checks.__all__) == len(set(checks.__all__)) == 1 + sum(map(len, checks.HOMES.values()))
    assert checks.graded is pytest.mark.graded or checks.graded == pytest.mark.graded
    with pytest.raises(AttributeError, match="no_such_thing"):
        checks.no_such_thing  # noqa: B018


def test_the_table_of_the_docstring_names_exactly_what_is_exported() -> None:
    table = (vocabulary.__doc__ or "").split("\n\n")[2]
    modules = set(re.findall(r"^    (\w+)", table, re.MULTILINE))
    words = re.sub(r"\(.*?\)", "", table).split()
    assert set(words) - modules == set(exported())


def test_every_public_name_is_documented_and_every_assertion_says_what_holds() -> None:
    for name in exported():
        doc = inspect.getdoc(getattr(checks, name)) or ""
        assert doc.split("\n")[0].rstrip().endswith("."), name


def nan(*shape: int) -> torch.Tensor:
    return torch.full(shape, torch.nan)


def spoil(net: torch.nn.Module) -> None:
    with torch.no_grad():
        net.weight.mul_(torch.nan)


ONES = torch.ones(300, 1, 2, 2)
POINTS = torch.rand(6, 2, dtype=torch.float64)
TWO = torch.eye(2, dtype=torch.float64)
NET = torch.nn.Linear(2, 2)
NAN_PAIR = (lambda x: (x * torch.nan, x.sum(1) * torch.nan),)
NAN_ANSWERS: list[Callable[[], Any]] = [
    lambda: assert_finite(nan(3)),
    lambda: assert_binary(nan(3)),
    lambda: assert_close(nan(3), torch.zeros(3), atol=float("inf")),
    lambda: assert_close(float("nan"), 0.0),
    lambda: assert_close(nan(3), nan(3)),
    lambda: assert_causal(lambda x: x * torch.nan, (2, 1, 3, 3)),
    lambda: assert_depends(lambda x: x * torch.nan, (2, 1, 3, 3), [(0, 0)]),
    lambda: assert_receptive_field(lambda x: x * torch.nan, (2, 1, 3, 3), set(), (1, 1)),
    lambda: assert_normalised(lambda x: nan(len(x)), 3),
    lambda: sequential_log_likelihood(lambda x: x * torch.nan, ONES),
    lambda: assert_samples_follow(nan(300, 1, 2, 2), torch.full((16,), 1 / 16)),
    lambda: assert_frequencies(nan(300, 1, 2, 2), torch.tensor(0.5)),
    lambda: assert_moments(nan(300, 2), 0.0, 1.0),
    lambda: assert_excess(nan(300), 1.0, floor=2.0, target=1.0),
    lambda: assert_excess(nan(300), torch.ones(300), floor=2.0, target=1.0),
    lambda: assert_score(float("nan"), 0.0, 1.0, "precision"),
    lambda: assert_score(float("nan"), 1.0, 0.0, "loss"),
    lambda: assert_same_law(nan(300, 2), torch.randn(300, 2)),
    lambda: assert_diverse(nan(300, 2), torch.randn(300, 2)),
    lambda: assert_not_memorised(nan(300, 2), torch.randn(300, 2), torch.randn(300, 2)),
    lambda: assert_modes_covered(nan(300, 2), torch.zeros(1, 2), radius=1.0, share=0.0, near=0.0),
    lambda: assert_number(float("nan"), 0.0, "it", tolerance=float("inf")),
    lambda: assert_standard_normal(nan(300, 2)),
    lambda: assert_covers_times(nan(300), interval=(0.0, 1.0)),
    lambda: assert_continuous(lambda x: x * torch.nan, ONES, ONES + 1),
    lambda: assert_same_in_any_company(lambda x: x * torch.nan, ONES),
    lambda: assert_gradient_equals(lambda x: x * torch.nan, torch.ones(3), expected=torch.ones(3)),
    lambda: assert_works_in(torch.float64, lambda x: x * torch.nan, torch.ones(3)),
    lambda: assert_mean(nan(300), 0.0, bound=1e9),
    lambda: assert_mean(nan(300), 0.0, bound=(-1e9, 1e9)),
    lambda: retried(lambda k, rate: assert_mean(nan(300), 0.0, bound=1e9, false_failure=rate)),
    lambda: assert_minimised_at(lambda x: x.sum() * torch.nan, TWO),
    lambda: assert_affine_in(lambda w: nan(3), 0.0, 1.0),
    lambda: assert_step_changes_only(lambda: spoil(NET), changes={"it": NET}, share=0.5),
    lambda: assert_inverse(*NAN_PAIR, *NAN_PAIR, POINTS, POINTS),
    lambda: assert_log_det(*NAN_PAIR, POINTS),
    lambda: assert_log_det(lambda x: (x, x.sum(1) * torch.nan), POINTS),
    lambda: assert_log_det(lambda x: (x * torch.nan, x.sum(1)), POINTS),
    lambda: assert_passes(*NAN_PAIR, POINTS, torch.ones(2)),
    lambda: assert_every_coordinate_moves(*NAN_PAIR, POINTS),
    lambda: change_of_variables(*NAN_PAIR, POINTS),
    lambda: assert_integrates_to_one(lambda x: nan(len(x)), [(0.0, 1.0)]),
    lambda: assert_trace_estimator(lambda x: nan(6), POINTS, TWO.expand(6, 2, 2)),
    lambda: assert_trace_estimator(lambda x: nan(len(x)), POINTS, torch.ones(6, 2, 2), draws=9),
    lambda: assert_adjoint_matches(
        lambda net, x: net(x) * torch.nan,
        NET,
        ONES[:2, 0, 0],
        of=NET,
        expected=SolverGradients(nan(2, 2), nan(2, 2), {}),
    ),
    lambda: assert_gaussian_kl(lambda *q: nan(6, 2), POINTS, POINTS),
    lambda: assert_density(lambda x: nan(6), POINTS, expected=POINTS[:, 0]),
    lambda: assert_bound(nan(300, 6), POINTS[:, 0], deviation=1e9),
    lambda: assert_bound(nan(300, 6), POINTS[:, 0], deviation=0.0, gap=torch.zeros(6)),
    lambda: assert_increasing([float("nan")] * 3, slack=float("inf")),
    lambda: assert_reparametrised(lambda m, s: m * torch.nan, torch.zeros(2000, 2), torch.zeros(2000, 2)),
    lambda: assert_straight_through(lambda x: x * torch.nan, POINTS, value=POINTS),
    lambda: assert_em_step(lambda x, r: (nan(2), nan(2, 2), nan(2, 2, 2)), POINTS, responsibilities=POINTS),
]


@pytest.mark.parametrize("check", NAN_ANSWERS)
def test_nan_never_passes(check: Callable[[], Any]) -> None:
    with pytest.raises(StudentFault):
        check()
