"""Difficulty, discrimination and suspicious checks of a class; SciPy is the oracle."""

from __future__ import annotations

import random

import pytest
from scipy.stats import pointbiserialr

from autograder.feedback import brief
from autograder.feedback.analysis import homework_figures, point_biserial
from tests.autograder.report_factory import failed, report


def test_discrimination_is_scipys_point_biserial_correlation():
    rng = random.Random(3)
    for _ in range(20):
        rest = [rng.random() for _ in range(30)]
        solved = [rng.random() < 0.2 + 0.6 * value for value in rest]
        if any(solved) and not all(solved):
            assert point_biserial(solved, rest) == pytest.approx(pointbiserialr(solved, rest).statistic, abs=1e-12)


@pytest.mark.parametrize(("solved", "rest"), [([True] * 9, range(9)), ([True, False] * 5, [1.0] * 10), ([True], [1.0])])
def test_where_nothing_varies_there_is_no_correlation(solved, rest):
    assert point_biserial(solved, list(rest)) is None


def test_a_task_that_knows_nothing_of_the_rest_is_named():
    points = [{"a": float(n % 2), "b": float(n), "c": float(n)} for n in range(20)]
    figures = homework_figures("hw1", {"a": 1.0, "b": 19.0, "c": 25.0}, points, [])
    a, b, c = figures.tasks
    assert (a.mean, a.solved, a.graded) == (0.5, 10, 20)
    assert a.words == "tells nothing about who knows the rest"
    assert b.discrimination == pytest.approx(
        pointbiserialr([n == 19 for n in range(20)], [n + n % 2 for n in range(20)])[0]
    )
    assert c.words == "nobody solved it"


@pytest.mark.parametrize(("share", "named"), [(4, False), (5, True), (9, True)])
def test_a_check_on_which_half_the_class_stumbles_for_one_reason_is_named(share, named):
    reports = [
        report(f"s{n}", outcomes={"test_no_blind_spot": failed("crash")} if n < share else {}) for n in range(10)
    ]
    suspects = homework_figures("hw1", {}, [], map(brief, reports)).suspects
    assert [(one.reason, one.failed, one.graded) for one in suspects] == (
        [("Their code ended with an error.", share, 10)] if named else []
    )


def test_failures_for_many_reasons_are_no_sign_of_a_bad_check():
    reasons = ["crash", "missing", "wrong", "timeout", "memory"]
    reports = [report(f"s{n}", outcomes={"test_no_blind_spot": failed(reasons[n % 5])}) for n in range(10)]
    assert homework_figures("hw1", {}, [], map(brief, reports)).suspects == []
