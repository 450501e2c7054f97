"""Cost follows change: an unchanged submission costs a `stat` and a row, a new one what is its own.

Operations and files are counted, never seconds.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autograder.course.course import Course
from autograder.grading import batch, stale
from autograder.judge.job import Job
from autograder.records.rendering import Rendered, rendered
from autograder.report import Report
from tests.autograder.course_factory import ANSWERS, NAME
from tests.autograder.grading.test_batch import (  # noqa: F401 (fixtures)
    assignment_of,
    hand_in,
    here,
    make_course,
    provider,
    run,
)
from tests.autograder.operations import operations

FEW, STEP = 4, 8  # students of the first class, and how many join each time
SLACK = 1.2
OF_ONE = 4_000  # operations for one unchanged submission


@pytest.fixture
def course(tmp_path: Path, here: object, provider: object, monkeypatch: pytest.MonkeyPatch) -> Course:  # noqa: F811
    """A class of a few, graded; of whoever joins the first report is taken."""
    students = {f"s{number:02}": ANSWERS if number < FEW else {} for number in range(FEW + 2 * STEP)}
    made = make_course(tmp_path, students)
    for name in list(students)[FEW:]:
        shutil.rmtree(made.submitted_dir / name)
    run(made, students=frozenset({"s00"}))
    first, assignment = Report.load(made.report_path(NAME, "s00")), assignment_of(made)

    def copied(jobs: list[Job], workers: int, work: Any, started: object) -> Iterator[tuple[Job, Rendered]]:
        for job in jobs:
            report = first.model_copy(update={"student": job.submission.student})
            yield job, rendered(assignment, report, job.submission.read(), job.remarks)

    monkeypatch.setattr(batch, "run_jobs", copied)
    run(made)
    return made


def join(course: Course, first: int, count: int) -> None:
    for number in range(first, first + count):
        hand_in(course, f"s{number:02}", ANSWERS)


def opened(course: Course) -> set[str]:
    """Files of the course that grading opens, written ones by the name they get."""
    found: set[str] = set()
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open" and isinstance(arguments[0], str | os.PathLike):
            path = Path(arguments[0])
            if course.root in path.parents and ".." not in path.parts:
                found.add(str(path.relative_to(course.root)))

    sys.addaudithook(watch)
    run(course)
    watching = False
    return found


def files(course: Course) -> dict[str, tuple[int, int]]:
    """What `stat` says of every file but the databases."""
    paths = (path for path in course.root.rglob("*") if path.is_file() and not path.suffix.startswith(".db"))
    return {str(path.relative_to(course.root)): (path.stat().st_mtime_ns, path.stat().st_ino) for path in paths}


def test_of_an_unchanged_class_no_file_is_opened_and_none_is_written(course: Course) -> None:
    before = files(course)
    touched = {path for path in opened(course) if not path.endswith((".db", ".db-journal"))}
    assert touched <= {"course.yaml", "nbgrader_config.py", "scores.csv"}
    assert files(course) == before


def test_one_that_is_new_touches_its_own_files_and_those_of_the_class(course: Course) -> None:
    before = files(course)
    join(course, FEW, 1)
    touched = {path for path in opened(course) if not path.endswith((".db", ".db-journal"))}
    others = {f"s{number:02}" for number in range(FEW)}
    assert not {path for path in touched if any(other in path for other in others)}
    changed = {path for path, what in files(course).items() if before.get(path) != what}
    assert {path for path in changed if "s04" not in path} == {"scores.csv", f"feedback/{NAME}/class.html"}
    assert len(changed) == 7  # and notebook, time stamp, report, page, notebook for humans


def test_work_grows_with_the_class_and_not_faster(course: Course) -> None:
    counts = []
    for size in (FEW, FEW + STEP, FEW + 2 * STEP):
        join(course, FEW, size - FEW)
        run(course)
        counts.append(operations(lambda: run(course)))
    first, second = counts[1] - counts[0], counts[2] - counts[1]
    assert second <= SLACK * first
    assert first < STEP * OF_ONE


def test_what_marks_stand_on_is_worked_out_once(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("nothing has changed")

    monkeypatch.setattr(stale, "worked_out", never)
    assert run(course).graded == []
    checks = course.solutions_dir / NAME / "checks.py"
    checks.write_text(checks.read_text().replace("abs(slope - 3) < 0.1", "abs(slope - 3) < 0.2"))
    with pytest.raises(AssertionError, match="nothing has changed"):
        run(course)
