# ruff: noqa: F811 (fixtures that another file defines)
"""One record: what came of each hand-in is known until it is mended, to scores, pages and `show` alike."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from autograder.course.course import Course, load_course
from autograder.grading import batch as module
from autograder.grading.batch import take_in
from autograder.grading.results import Options
from autograder.records.gradebook import dump
from autograder.records.record import FILE, Record
from autograder.records.state import State
from autograder.report import Report
from tests.autograder.course_factory import ANSWERS, NAME, answered, to_bytes
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
def patient(here: list[str], provider: object) -> None:
    """Jobs run in this process."""


def statuses(course: Course) -> dict[str, str]:
    with course.scores_path.open() as file:
        return {row["student"]: row["status"] for row in csv.DictReader(file)}


def states(course: Course) -> dict[str, State]:
    with Record(course.root, NAME) as record:
        return {state.who: state for state in record.states()}


def collected(course: Course, export: Path) -> None:
    assignment = module.load_assignment(course.files(NAME))
    with Record(course.root, NAME) as record:
        take_in(course, assignment, record, export)


def without_times(state: State) -> dict[str, object]:
    dated = ("came", "stat", "source", "handed", "notes", "content", "answered", "page")
    return {name: getattr(state, name) for name in State.__slots__ if name not in dated}


def test_collecting_and_then_grading_forgets_nothing(course, tmp_path):
    export = tmp_path / "export"
    template = module.load_assignment(course.files(NAME)).template
    for folder, name, data in (("ada", "final.ipynb", to_bytes(answered(template))), ("bob", "hw0.ipynb", b"")):
        (export / folder).mkdir(parents=True)
        (export / folder / name).write_bytes(data)
    (export / "stranger").mkdir()
    (export / "stranger" / "hw0.ipynb").write_bytes(to_bytes(template))
    shutil.rmtree(course.submitted_dir / "bob")
    collected(course, export)
    batch = run(course)
    assert batch.rejected.keys() == {"bob", "stranger"}
    assert statuses(course)["bob"] == "not graded: `hw0.ipynb` is empty."
    page = (course.feedback_dir(NAME) / "bob.html").read_text()
    assert "could not be graded" in page
    assert "is empty" in page
    assert any("`final.ipynb` instead of" in note for note in Report.load(course.report_path(NAME, "ada")).notes)
    for _ in range(2):  # the command `scores`, and grading again
        assert statuses(course)["bob"].startswith("not graded: ")
        run(course)
    hand_in(course, "bob", ANSWERS)
    collected(course, course.submitted_dir / "bob" / NAME / f"{NAME}.ipynb")
    assert run(course).rejected == {}
    assert statuses(course)["bob"] == "waits for a human"
    assert "could not be graded" not in (course.feedback_dir(NAME) / "bob.html").read_text()


def test_what_is_broken_under_submitted_is_said_until_it_is_mended(course):
    (course.submitted_dir / "cleo" / NAME / f"{NAME}.ipynb").write_text("no notebook")
    for _ in range(2):
        assert run(course).rejected.keys() == {"cleo"}
        assert statuses(course)["cleo"].startswith("not graded: ")
    hand_in(course, "cleo", ANSWERS)
    assert run(course).rejected == {}
    assert points(course) == POINTS | {"cleo": 3.0}


def test_who_joins_later_and_who_was_late_is_in_the_record(course):
    settings = course.root / "course.yaml"
    settings.write_text(settings.read_text() + f"due:\n  {NAME}: 2026-01-01T00:00:00+00:00\n")
    with (course.root / "students.csv").open("a") as file:
        file.write("dora,Dora Late,dora@example.org\n")
    late = load_course(course.root)
    run(late)
    assert dump(course.gradebook_url)["students"]["dora"] == ["Dora", "Late", "dora@example.org"]
    assert states(course)["ada"].late
    assert states(course)["ada"].sentence == "graded", "an extension or an excuse may forgive it"
    assert "dora" not in states(course)


@pytest.mark.parametrize("harm", ["deleted", "damaged", "of another version"])
def test_a_lost_record_is_made_anew_from_the_reports(course, here, harm):
    (course.submitted_dir / "cleo" / NAME / f"{NAME}.ipynb").write_text("no notebook")
    run(course)
    before, grades, scores = states(course), dump(course.gradebook_url), course.scores_path.read_bytes()
    shutil.move(course.submitted_dir, course.root / "elsewhere")  # the reports alone tell it
    if harm == "deleted":
        (course.root / FILE).unlink()
    elif harm == "damaged":
        (course.root / FILE).write_bytes(b"no database" * 1000)
    else:
        with Record(course.root, NAME) as record:
            record._connection.execute("PRAGMA user_version = 99")
    found = states(course)
    assert {who: state.marks for who, state in found.items()} == {who: before[who].marks for who in ("ada", "bob")}
    assert all(state.report == before[who].report for who, state in found.items())
    shutil.move(course.root / "elsewhere", course.submitted_dir)
    here.clear()
    run(course)
    assert here == []
    after = states(course)
    assert {who: without_times(state) for who, state in after.items()} == {
        who: without_times(state) for who, state in before.items()
    }
    assert (dump(course.gradebook_url), course.scores_path.read_bytes()) == (grades, scores)


def test_a_report_that_was_changed_by_hand_is_seen(course, here):
    run(course)
    report = Report.load(course.report_path(NAME, "bob"))
    cells = [c.model_copy(update={"earned": 2.0}) if c.cell == "double" else c for c in report.cells]
    report.model_copy(update={"cells": cells}).save(course.report_path(NAME, "bob"))
    here.clear()
    run(course)
    assert here == []
    assert points(course)["bob"] == 3.0


def test_a_gradebook_that_was_lost_is_filled_again(course, here):
    run(course)
    before = dump(course.gradebook_url)
    Path(course.gradebook_url.removeprefix("sqlite:///")).unlink()
    here.clear()
    run(course)
    assert here == []
    assert dump(course.gradebook_url) == before


def test_a_broken_homework_hinders_no_other(course):
    run(course)
    before = course.scores_path.read_text()
    for folder in (course.assignments_dir, course.solutions_dir):
        shutil.copytree(folder / NAME, folder / "hw9")
    for path in (course.assignments_dir / "hw9", course.solutions_dir / "hw9"):
        for file in path.iterdir():
            file.rename(file.with_name(file.name.replace(NAME, "hw9")))
    config = course.assignments_dir / "hw9" / "assignment.yaml"
    config.write_text(config.read_text().replace(f"name: {NAME}", "name: hw9"))
    for student in ("ada", "bob"):
        shutil.copytree(course.submitted_dir / student / NAME, course.submitted_dir / student / "hw9")
        (course.submitted_dir / student / "hw9" / f"{NAME}.ipynb").rename(
            course.submitted_dir / student / "hw9" / "hw9.ipynb"
        )
    module.grade_course(course, "hw9", None, Options(sandbox="process"))
    header = course.scores_path.read_text().splitlines()[0]
    assert header.count("hw9/double") == 1
    assert points(course) == {"ada": 6.0, "bob": 2.0, "cleo": 0.0}
    config.write_text("half: [edited")
    run(course, force=True)
    assert course.scores_path.read_text().splitlines()[0] == header
    assert points(course) == {"ada": 6.0, "bob": 2.0, "cleo": 0.0}
    assert before.splitlines()[0] != header
