# ruff: noqa: F811 (fixtures that another file defines)
"""A mark is stale when, and only when, something that made it changed; it moves when somebody publishes it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from autograder.commands.progress import summary
from autograder.course.course import Course
from autograder.grading.batch import grade_course, look_ahead
from autograder.grading.results import Batch, Options
from autograder.homework.assignment import load_assignment
from autograder.homework.settings import POINTS as ONLY_POINTS
from autograder.judge import grade as grading
from autograder.judge.job import assignment_of
from autograder.records.gradebook import Book
from autograder.records.log import Override, append
from autograder.report import Report
from tests.autograder.course_factory import ANSWERS, NAME
from tests.autograder.grading.test_batch import (  # noqa: F401 (fixtures)
    POINTS,
    course,
    hand_in,
    here,
    points,
    provider,
    run,
)


@pytest.fixture(autouse=True)
def graded(course: Course, here: list[str], provider: object) -> None:
    """A class that was graded; what is run from now on is counted."""
    run(course)
    here.clear()


def edit(course: Course, old: str, new: str, file: str = "solutions") -> None:
    folder = course.solutions_dir if file == "solutions" else course.assignments_dir
    path = folder.resolve() / NAME / ("assignment.yaml" if file == "yaml" else "checks.py")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assignment_of.cache_clear()
    for name, loaded in list(sys.modules.items()):  # a judge process reads a file once
        if getattr(loaded, "__file__", None) == str(path):
            del sys.modules[name]


def stale(course: Course) -> dict[str, list[str]]:
    """Student -> checks that would be run."""
    plan = look_ahead(course, NAME, Options(sandbox="process"))
    return {task.state.who: sorted(task.again.stale if task.again else ["all"]) for task in plan.grade}


def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of checks as they run."""
    names: list[str] = []
    before = grading.run_checks

    def counting(files: object, bench: object) -> object:
        results = before(files, bench)
        names.extend(result.id for result in results)
        return results

    monkeypatch.setattr(grading, "run_checks", counting)
    return names


NOTHING: list[Callable[[Course], None]] = [
    lambda course: edit(course, "import torch\n", "import torch  # numbers\n# a comment\n"),
    lambda course: edit(course, '"""Doubling works for every shape."""', '"""Doubling works."""'),
    lambda course: edit(course, "import torch\n", "import torch\n\n\ndef nobody_uses_this():\n    return 1\n"),
    lambda course: edit(course, "title: Doubling", "title: Twice", "yaml"),
]


@pytest.mark.parametrize("change", NOTHING, ids=["comment", "docstring", "unused", "title"])
def test_what_makes_no_mark_makes_none_stale(course, here, change):
    change(course)
    assert stale(course) == {}
    run(course)
    assert here == []


SOME: list[tuple[Callable[[Course], None], list[str]]] = [
    (lambda course: edit(course, "abs(slope - 3) < 0.1", "abs(slope - 3) < 0.2"), ["test_trained_slope_is_three"]),
    (lambda course: edit(course, "train_seconds: 20", "train_seconds: 21", "yaml"), ["test_trained_slope_is_three"]),
    (lambda course: edit(course, "2 * secret_input", "secret_input * 2"), ["test_double_of_noise"]),
    (lambda course: edit(course, "torch.zeros(4)", "torch.zeros(5)", "public"), ["test_line_is_zero_at_zero"]),
]


@pytest.mark.parametrize(("change", "checks"), SOME, ids=["definition", "budget", "another", "public"])
def test_a_change_makes_exactly_its_checks_stale_and_only_these_are_run(
    course,
    here,
    monkeypatch,
    change,
    checks,
):
    before = Report.load(course.report_path(NAME, "ada"))
    change(course)
    assert stale(course) == dict.fromkeys(POINTS, checks)
    names = ran(monkeypatch)
    run(course)
    assert sorted(here) == sorted(POINTS)
    assert {name.partition("[")[0] for name in names} == set(checks)
    after = Report.load(course.report_path(NAME, "ada"))
    kept = [check for check in before.checks if check.id.partition("[")[0] not in checks]
    assert [check for check in after.checks if check.id.partition("[")[0] not in checks] == kept
    assert [check.id for check in after.checks] == [check.id for check in before.checks]
    assert points(course) == POINTS
    assert stale(course) == {}


def test_it_is_said_what_changed_and_what_it_takes(course):
    edit(course, "abs(slope - 3) < 0.1", "abs(slope - 3) < 0.2")
    plan = look_ahead(course, NAME, Options(sandbox="process"))
    said = {task.why for task in plan.grade}
    name = "test_trained_slope_is_three"
    assert said == {f"{name}: solutions/{NAME}/checks.py: {name} changed"}
    assert all(0 < task.seconds <= task.state.seconds for task in plan.grade)


def harder(course: Course) -> None:
    """A check that Bob's answer passes by now, and Ada's does not."""
    edit(course, "answer, 2 * secret_input", "answer, 3 * secret_input")
    edit(course, "torch.full((3,), 2.0)", "torch.full((3,), 3.0)", "public")


def test_published_marks_stay_until_the_new_ones_are_published(course, here, capsys):
    page = (course.feedback_dir(NAME) / "ada.html").read_text()
    harder(course)
    batch = run(course)
    assert {move.student: (move.old["double"], move.new["double"]) for move in batch.moves} == {
        "ada": (2.0, 0.0),
        "bob": (0.0, 2.0),
    }
    summary(course, batch)
    said = " ".join(capsys.readouterr().out.split())
    assert "ada double 2 → 0" in said
    assert "Marks of 2 submissions would move" in said
    assert points(course) == POINTS
    assert (course.feedback_dir(NAME) / "ada.html").read_text() == page
    here.clear()
    batch = run(course)
    assert (batch.moves, here) == ([], [])
    summary(course, batch)
    said = " ".join(capsys.readouterr().out.split())
    assert "bob double 0 → 2" in said
    assert "would move" in said
    assert points(course) == POINTS
    batch = publish(course)
    assert here == []
    assert sorted(move.student for move in batch.moves if move.published) == ["ada", "bob"]
    assert points(course) == {"ada": 1.0, "bob": 3.0, "cleo": 0.0}
    assert (course.feedback_dir(NAME) / "ada.html").read_text() != page
    assert list(course.proposed_dir(NAME).iterdir()) == []
    assert publish(course).moves == []


def test_what_people_gave_stays_when_new_marks_are_published_and_pages_obey_the_homeworks_rule(course):
    with Book(course.gradebook_url) as book:  # as formgrader does
        book.set_manual(load_assignment(course.files(NAME)), "ada", "why", 0.75, "Name the minimum.")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    given = {"student": "bob", "homework": NAME, "cell": "line", "points": 0.5}
    append(course.log_path, Override(at=now, by="leo", why="Half of it is right.", **given))
    edit(course, "title: Doubling", f"title: Doubling\nfeedback: {ONLY_POINTS}", "yaml")
    harder(course)
    run(course)
    assert points(course) == {"ada": 3.75, "bob": 0.5, "cleo": 0.0}
    assert publish(course).moves
    assert points(course) == {"ada": 1.75, "bob": 2.5, "cleo": 0.0}
    ada, bob = ((course.feedback_dir(NAME) / f"{who}.html").read_text() for who in ("ada", "bob"))
    assert "0.75 of 1 point of theory" in ada
    assert "Name the minimum." in ada
    assert "Half of it is right." in bob
    assert "Doubling 1 gives 2." not in ada + bob


def publish(course: Course) -> Batch:
    return grade_course(course, NAME, None, Options(sandbox="process", only_again=True, publish=True))


def test_what_is_handed_in_again_is_graded_as_it_is(course):
    harder(course)
    run(course)
    hand_in(course, "bob", ANSWERS | {"double-answer": "def double(x):\n    return x * 3.0\n"})
    run(course)
    assert points(course) == POINTS | {"bob": 3.0}
    assert [path.stem for path in course.proposed_dir(NAME).iterdir()] == ["ada"]


def test_a_proposal_survives_a_lost_record(course, here):
    harder(course)
    run(course)
    (course.root / "state.db").unlink()
    here.clear()
    run(course)
    assert here == []
    assert points(course) == POINTS
    assert publish(course).moves != []
    assert points(course) == {"ada": 1.0, "bob": 3.0, "cleo": 0.0}


def test_reports_of_the_schema_before_are_read_and_not_made_anew(course, here):
    for path in course.reports_dir(NAME).glob("*.json"):
        data = json.loads(path.read_text())
        for name in ("schema_number", "basis", "data"):
            del data[name]
        for check in data["checks"]:
            del check["basis"]
        path.write_text(json.dumps(data | {"checks_sha256": "0" * 64}))
    run(course)
    assert here == []
    assert points(course) == POINTS


def test_the_thresholds_a_report_was_made_with_are_in_it(course):
    edit(course, "training:", "data: {line: {floor: 9.9}}\ntraining:", "yaml")
    run(course, force=True)
    assert Report.load(course.report_path(NAME, "ada")).data == {"line": {"floor": 9.9}}
