"""The late rule, on days worked by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from autograder.course.course import load_course
from autograder.course.late import Extension, HandIn, Late, LateRule, last_deadline, lateness, load_extensions
from autograder.errors import UserError

DUE = {"hw1": datetime(2026, 10, 12, 21, tzinfo=UTC), "hw2": datetime(2026, 10, 26, 21, tzinfo=UTC)}
DAY = timedelta(days=1)


def late(rule: LateRule, after: timedelta | None, extension: Extension | None = None, *, flagged: bool = False) -> Late:
    """Of homework 1, handed in so long after its deadline."""
    when = None if after is None else DUE["hw1"] + after
    granted = {} if extension is None else {"hw1": extension}
    return lateness(rule, DUE, granted, {"hw1": HandIn(when, flagged)})["hw1"]


@pytest.mark.parametrize(
    ("after", "days", "percent"),
    [
        (timedelta(minutes=-1), 0, 0), (timedelta(), 0, 0), (timedelta(minutes=15), 0, 0),
        (timedelta(minutes=15, seconds=1), 1, 10), (DAY, 1, 10), (DAY + timedelta(seconds=1), 2, 20), (7 * DAY, 7, 70),
    ],
)  # fmt: skip
def test_every_day_that_has_begun_costs_ten_percent_after_a_grace_of_a_quarter_of_an_hour(after, days, percent):
    found = late(LateRule(grace_minutes=15, per_day=10, last_day=7), after)
    assert (found.days, found.percent, found.accepted) == (days, percent, True)
    assert found.cost(Fraction("12.5")) == Fraction("12.5") * percent / 100


def test_after_the_last_day_nothing_is_accepted():
    found = late(LateRule(per_day=10, last_day=7), 7 * DAY + timedelta(seconds=1))
    assert (found.accepted, found.percent) == (False, 100)
    assert "earns nothing" in found.words


@pytest.mark.parametrize(("days", "percent"), [(1, 10), (2, 30), (3, 30), (4, 50), (7, 50), (8, 100)])
def test_a_table_of_steps_says_what_up_to_so_many_days_cost(days, percent):
    assert late(LateRule(steps={1: 10, 3: 30, 7: 50}), days * DAY).percent == percent


def test_no_rule_takes_nothing_off_but_says_how_late_it_was():
    found = late(LateRule(), 3 * DAY)
    assert (found.days, found.percent) == (3, 0)
    assert "3 days after the deadline" in found.words


def test_free_days_are_used_up_in_the_order_of_the_deadlines():
    rule = LateRule(per_day=10, free_days=3)
    handed = {"hw2": HandIn(DUE["hw2"] + 2 * DAY), "hw1": HandIn(DUE["hw1"] + 2 * DAY)}
    found = lateness(rule, DUE, {}, handed)
    assert (found["hw1"].free, found["hw1"].percent) == (2, 0)
    assert (found["hw2"].free, found["hw2"].percent) == (1, 10)


def test_an_extension_moves_the_deadline_and_the_last_day_with_it():
    rule = LateRule(per_day=10, last_day=2)
    extension = Extension(until=DUE["hw1"] + 5 * DAY, reason="illness")
    assert late(rule, 5 * DAY, extension).days == 0
    assert "illness" in late(rule, 5 * DAY, extension).words
    assert (late(rule, 6 * DAY, extension).days, late(rule, 6 * DAY, extension).percent) == (1, 10)
    assert not late(rule, 8 * DAY, extension).accepted


def test_an_excuse_forgives_until_it_expires_and_then_nothing():
    rule = LateRule(per_day=10)
    excuse = Extension(until=DUE["hw1"] + 3 * DAY, reason="conference", kind="excuse")
    assert late(rule, 3 * DAY, excuse).percent == 0
    assert late(rule, 4 * DAY, excuse).percent == 40


@pytest.mark.parametrize(("flagged", "word"), [(False, "Nobody knows when"), (True, "marked as late")])
def test_nobody_is_late_where_no_time_is_known(flagged, word):
    found = late(LateRule(per_day=10), None, flagged=flagged)
    assert (found.days, found.percent) == (0, 0)
    assert word in found.words


def test_a_homework_without_a_deadline_is_never_late():
    assert lateness(LateRule(per_day=10), {}, {}, {"hw1": HandIn(DUE["hw1"])})["hw1"] == Late()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ada:\n  hw1: {until: 2026-10-19, reason: ill}\n", ("line 2", "`ada.hw1.until`")),
        ("ada:\n  hw1: {until: 2026-10-19T23:59:00, reason: ill}\n", ("line 2", "`ada.hw1.until`", "time zone")),
        ("ada:\n  hw1:\n    until: 2026-10-19T23:59:00+03:00\n", ("line 2", "`ada.hw1.reason` is missing")),
        ("ada:\n  hw1: {until: 2026-10-19T23:59:00+03:00, reason: x, kind: gift}\n", ("line 2", "`ada.hw1.kind`")),
        ("\n\neve:\n  hw1: {until: 2026-10-19T23:59:00+03:00, reason: x}\n", ("line 3", "`eve` is no student")),
        ("ada:\n  hw9: {until: 2026-10-19T23:59:00+03:00, reason: x}\n", ("line 2", "`ada.hw9`", "hw1, hw2")),
        ("- ada\n", ("line 1",)),
        ("ada: {hw1: x}\nada: {hw1: y}\n", ("line 2", "twice")),
    ],
)
def test_extensions_are_refused_with_file_line_and_key(tmp_path, text, words):
    path = tmp_path / "extensions.yaml"
    path.write_text("ada:\n  hw1: {until: 2026-10-19T23:59:00+03:00, reason: illness}\n")
    assert load_extensions(tmp_path, {"ada": 1}, DUE)["ada"]["hw1"].reason == "illness"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        load_extensions(tmp_path, {"ada": 1}, DUE)
    for word in (str(path), *words):
        assert word in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("late: {per_day: 101}\n", ("line 5", "`late.per_day", "101")),
        ("late:\n  per_day: 10\n  steps: {1: 10}\n", ("line 5", "`late`", "`per_day` or `steps`")),
        ("late:\n  steps: {3: 10, 1: 20}\n", ("line 6", "`late.steps`", "rise")),
        ("late: {free_days: soon}\n", ("line 5", "`late.free_days`", "'soon'")),
        ("late: {last_dya: 3}\n", ("line 5", "did you mean `late.last_day`")),
        ("late: {submission: newest}\n", ("line 5", "`late.submission`", "'best'", "newest")),
        ("components: {exam: {point: 3}}\n", ("line 5", "did you mean `components.exam.points`")),
        ("components: {Exam: {points: 3}}\n", ("line 5", "Exam")),
        ("policy: 3\n", ("line 5", "`policy`")),
    ],
)
def test_a_course_is_refused_with_file_line_and_key(tmp_path, text, words):
    for folder in ("assignments", "solutions"):
        (tmp_path / folder).mkdir()
    path = tmp_path / "course.yaml"
    path.write_text(f"name: c\nassignments: assignments\nsolutions: solutions\nsalt: {2**140}\n")
    assert load_course(tmp_path).name == "c"
    path.write_text(path.read_text() + text)
    with pytest.raises(UserError) as refused:
        load_course(tmp_path)
    for word in (str(path), *words):
        assert word in str(refused.value)


def test_the_time_of_all_is_over_when_the_longest_extension_is():
    until = DUE["hw1"] + 5 * DAY
    granted = {
        "ada": {"hw1": Extension(until=until, reason="illness")},
        "bob": {"hw2": Extension(until=until + DAY, reason="x")},
    }
    assert last_deadline("hw1", DUE, granted) == until
    assert last_deadline("hw1", DUE, {}) == DUE["hw1"]
    early = {"ada": {"hw1": Extension(until=DUE["hw1"] - DAY, reason="illness")}}
    assert last_deadline("hw1", DUE, early) == DUE["hw1"]
    assert last_deadline("hw3", DUE, granted) is None
