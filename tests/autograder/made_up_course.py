"""A made-up course: six homeworks, sixty students, settled without running anything, for tests of the whole course.

Every homework is worth 15 points: `code` 6, `train` 5, `why` 4 by hand. Who earned what is worked out from numbers, so
that a test can work out everybody's grade by other means.
"""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from autograder.course.course import Course, init_course, load_course
from autograder.course.people import Person
from autograder.homework.assignment import load_assignment
from autograder.records.gradebook import Book
from autograder.records.record import Record
from autograder.records.rendering import Rendered
from autograder.records.settle import Desk, settle
from autograder.report import CellResult, CheckResult, Report
from autograder.submission import Submission
from tests.autograder.course_factory import answered, to_bytes
from tests.autograder.report_factory import failed, report

HOMEWORKS = [f"hw{n}" for n in range(1, 7)]
STUDENTS = [f"s{n:02d}" for n in range(1, 61)]
CELLS = {"code": 6.0, "train": 5.0, "why": 4.0}
START = datetime(2025, 9, 15, 21, tzinfo=UTC)
DUE = {name: START + timedelta(weeks=2 * n) for n, name in enumerate(HOMEWORKS)}
RULES = {"late": {"grace_minutes": 15, "per_day": 10, "free_days": 3, "last_day": 7}}
FIRST_NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn")
ALIKE = """\
def mean(values, scale):
    total = 0
    for number, value in enumerate(values):
        total += scale * value ** 2 - number
        if total > 100:
            total = total // 2
    return [value / (1 + total) for value in values]
"""
CODE = {"s21": ALIKE, "s22": ALIKE.replace("mean", "average").replace("value", "item").replace("total", "acc")}
WORKSHEET = (
    "Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,"
    "Last modified (submission),Last modified (grade),Feedback comments"
)
SOLUTION = """\
# %% [markdown]
# # {name}

# %% nbgrader={{"grade": false, "solution": true, "grade_id": "code-answer"}}
### BEGIN SOLUTION
answer = 42
### END SOLUTION

# %% nbgrader={{"grade": true, "solution": false, "locked": true, "grade_id": "code", "points": 6}}
check("code")

# %% nbgrader={{"grade": true, "solution": false, "locked": true, "grade_id": "train", "points": 5}}
check("train")

# %% [markdown] nbgrader={{"grade": true, "solution": true, "grade_id": "why", "points": 4}}
# Why?
"""
CHECK = '''\
import pytest


@pytest.mark.graded("{cell}", points={points})
def test_{cell}(student):
    """The {cell} is right."""
'''


def handed_in(student: int, homework: int) -> bool:
    """Every tenth student stops after the third homework."""
    return student % 10 != 0 or homework <= 3


def days_late(student: int, homework: int) -> int:
    """Every seventh student is two days late with even homeworks."""
    return 2 if student % 7 == 0 and homework % 2 == 0 else 0


def earned(student: int, homework: int) -> dict[str, float | None]:
    """Points of one student by cell; None where a human is waited for."""
    code = 6.0 if (student + homework) % 5 else 3.0
    if homework == 6 and student % 2:  # a check that is too hard for half the class
        code = 0.0
    return {"code": code, "train": float(min(student % 8, 5)), "why": None}


def by_hand(student: int, homework: int) -> float:
    """Points of the theory."""
    return float((student + 2 * homework) % 9) / 2


def write_homeworks(folder: Path, homeworks: int = 6) -> None:
    """The homeworks' files: `folder/assignments` and `folder/solutions`."""
    from autograder.authoring.template import build_template
    from autograder.homework.ipynb import to_text

    for name in HOMEWORKS[:homeworks]:
        public, hidden = folder / "assignments" / name, folder / "solutions" / name
        public.mkdir(parents=True)
        hidden.mkdir(parents=True)
        (hidden / f"{name}.py").write_text(SOLUTION.format(name=name))
        (public / "checks.py").write_text(CHECK.format(cell="code", points=6))
        (hidden / "checks.py").write_text(CHECK.format(cell="train", points=5))
        (public / "assignment.yaml").write_text(f"name: {name}\ntitle: Homework {name[2:]}\npoints: 15\n")
        (public / f"{name}.ipynb").write_text(to_text(build_template(hidden / f"{name}.py")))


def make_course(folder: Path, *, policy: str = "aimasters-2025", homeworks: int = 6, students: int = 60) -> Course:
    """The course folder, with everything handed in, graded and read by a human."""
    write_homeworks(folder, homeworks)
    people = [Person(id=who, name=f"Student {who[1:]}") for who in STUDENTS[:students]]
    settings = {
        "salt": 2**130 + 7,
        "due": {name: DUE[name] for name in HOMEWORKS[:homeworks]},
        **RULES,
        "policy": policy,
    }
    folders = {"assignments": folder / "assignments", "solutions": folder / "solutions"}
    course = init_course(folder / "course", **folders, students=people, settings=settings)
    for number, name in enumerate(HOMEWORKS[:homeworks], 1):
        hand_in_and_settle(course, name, number, students)
    return load_course(course.root)


def hand_in_and_settle(course: Course, name: str, number: int, students: int = 60) -> None:
    """Everything about one homework."""
    assignment = load_assignment(course.files(name))
    with Record(course.root, name) as record, Book(course.gradebook_url) as book, record.together():
        book.ensure_assignment(assignment)
        book.add_students(course.people)
        record.put_homework(assignment)
        desk = Desk(course, assignment, book, record)
        for position, who in enumerate(STUDENTS[:students], 1):
            if not handed_in(position, number):
                continue
            when = DUE[name] - timedelta(hours=3) + timedelta(days=days_late(position, number))
            made = made_report(name, who, earned(position, number))
            record.change(who, sha=made.submission_sha256, submitted=when.isoformat(), came=when.isoformat())
            rendered = rendering(made)
            settle(desk, rendered, Submission(who, b"", {}, made.submission_sha256, who, submitted=when))
            book.set_manual(assignment, who, "why", by_hand(position, number))


def name_of(who: str) -> str:
    """As Moodle and Canvas write it; no id of ours is in it."""
    number = int(who[1:])
    return f"{FIRST_NAMES[number % 6]} Student{'abcdefghij'[number // 6 % 10]}"


def moodles_export(course: Course, name: str, number: int) -> tuple[Path, Path]:
    """Moodle's zip of a homework and its grading worksheet; a stranger handed in as well, two wrote the same.

    The reports lie there already, as a grader leaves them that was killed right after the last.
    """
    template = load_assignment(course.files(name)).template
    export, worksheet = course.root.parent / "moodle.zip", course.root.parent / "worksheet.csv"
    lines = [WORKSHEET]
    with zipfile.ZipFile(export, "w") as file:
        file.writestr("Some Stranger_900_assignsubmission_file_/mine.ipynb", to_bytes(template))
        for position, who in enumerate(STUDENTS, 1):
            code = {"code-answer": CODE[who]} if who in CODE else {}
            data = to_bytes(answered(template, {"why": f"Because, says {who}.", **code}))
            file.writestr(f"{name_of(who)}_{700 + position}_assignsubmission_file_/{name}.ipynb", data)
            when = DUE[name] - timedelta(hours=3) + timedelta(days=days_late(position, number))
            lines.append(
                f"Participant {700 + position},{name_of(who)},{who}@uni.edu,Submitted for grading,,15.00,Yes,"
                f'"{when:%A, %d %B %Y, %I:%M %p}",-,'
            )
            report = made_report(name, who, earned(position, number))
            known = {"submission_sha256": Submission.of(who, data).sha256}
            known |= {"environment": report.environment.model_copy(update={"sandbox": "process"})}
            report.model_copy(update=known).save(course.report_path(name, who))
    worksheet.write_text("\n".join(lines) + "\n")
    return export, worksheet


def rendering(made: Report) -> Rendered:
    """A report with a page and a notebook that hold nothing."""
    return Rendered(
        report=made,
        text=made.text,
        content="",
        remarked="-",
        answered={"why": True},
        answers={"why": "-"},
        notebook="{}",
        page=f"<p>{made.student}</p>",
    )


def made_report(name: str, who: str, points: dict[str, float | None]) -> Report:
    """A report in which each cell earned so much, by one check each."""
    base = report(who)
    checks, cells = [], []
    for cell, most in CELLS.items():
        got = points[cell]
        cells.append(CellResult(cell=cell, title=f"The {cell}", max_points=most, manual=got is None, earned=got))
        if got is not None:
            share = got / most
            lost = {"outcome": "passed", "fraction": 1.0} if share == 1 else failed("wrong", share)
            checks.append(
                CheckResult(
                    id=f"test_{cell}",
                    cell=cell,
                    title=f"The {cell} is right.",
                    public=cell == "code",
                    points=most,
                    **lost,
                )
            )
    return base.model_copy(update={"assignment": name, "cells": cells, "checks": checks, "basis": ""})
