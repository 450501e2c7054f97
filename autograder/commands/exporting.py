"""`autograder export …`: points, reports and pages of a homework for other programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autograder.commands.for_tas import CourseOption, Name
from autograder.errors import UserError

if TYPE_CHECKING:
    from autograder.course.course import Course
    from autograder.records.exports.gradebooks import Filled
    from autograder.records.record import Record

ToOption = Annotated[
    Path | None, typer.Option("--to", help="Where to write it.", show_default="exports/, in the course")
]


class PageNames(StrEnum):
    """Whose names the pages get."""

    moodle = "moodle"
    canvas = "canvas"
    flat = "flat"


def export_csv(name: Name, course: CourseOption = Path(), to: ToOption = None) -> None:
    """A row for every check of every student.

    Example: `autograder export csv hw1`
    """
    from autograder.records.exports.tables import checks_csv

    with _opened(course, name) as (loaded, record):
        _write(to or loaded.root / "exports" / f"{name}-checks.csv", checks_csv(loaded, record))


def export_jsonl(name: Name, course: CourseOption = Path(), to: ToOption = None) -> None:
    """All reports, a line of JSON each.

    Example: `autograder export jsonl hw1`
    """
    from autograder.records.exports.tables import reports_jsonl

    with _opened(course, name) as (loaded, record):
        _write(to or loaded.root / "exports" / f"{name}.jsonl", reports_jsonl(loaded, record))


def export_mail(name: Name, course: CourseOption = Path(), to: ToOption = None) -> None:
    """A row for everybody of the course, for a mail merge: address, points, where they stand, their page.

    Example: `autograder export mail hw1`
    """
    from autograder.records.exports.tables import mail_csv

    with _opened(course, name) as (loaded, record):
        _write(to or loaded.root / "exports" / f"{name}-mail.csv", mail_csv(loaded, record))


def export_canvas(
    name: Name,
    gradebook: Annotated[Path, typer.Argument(help="The gradebook as Canvas exports it.")],
    course: CourseOption = Path(),
    to: ToOption = None,
) -> None:
    """Canvas' gradebook with the points of a homework filled in, ready to import there.

    The column is the one called like the homework or its title. Header, numbers and all other columns stay as they are.

    Example: `autograder export canvas hw1 grades.csv`
    """
    from autograder.records.exports.gradebooks import canvas
    from autograder.records.exports.tables import counted
    from autograder.submissions.roster import Roster

    with _opened(course, name) as (loaded, record):
        people = Roster(loaded.people.values())
        found = canvas(gradebook, name, record.title, counted(loaded, record), people)
        _write(to or loaded.root / "exports" / f"{name}-canvas.csv", found.text)
        _say(found)


def export_moodle(
    name: Name,
    worksheet: Annotated[Path, typer.Argument(help="The grading worksheet as Moodle gives it.")],
    course: CourseOption = Path(),
    to: ToOption = None,
) -> None:
    """Moodle's grading worksheet with the points of a homework filled in, ready to upload there.

    Example: `autograder export moodle hw1 worksheet.csv`
    """
    from autograder.records.exports.gradebooks import moodle
    from autograder.records.exports.tables import counted
    from autograder.submissions.roster import Roster

    with _opened(course, name) as (loaded, record):
        found = moodle(worksheet, counted(loaded, record), Roster(loaded.people.values()))
        _write(to or loaded.root / "exports" / f"{name}-moodle.csv", found.text)
        _say(found)


def export_feedback(
    name: Name,
    names: Annotated[PageNames, typer.Option(help="The course page whose names the files get.")] = PageNames.flat,
    course: CourseOption = Path(),
    to: ToOption = None,
) -> None:
    """A zip of the students' pages, named as Moodle or Canvas takes them back.

    Example: `autograder export feedback hw1 --names moodle`
    """
    from autograder.records.exports.pages import feedback_zip

    with _opened(course, name) as (loaded, record):
        data, unknown = feedback_zip(loaded, record, names.value)
        _write(to or loaded.root / "exports" / f"{name}-feedback-{names.value}.zip", data)
    if unknown:
        print(f"Not in it, for they did not come in an export of {names.value}: {', '.join(unknown)}", file=sys.stderr)


def export_gradescope(
    name: Name,
    packed: Annotated[bool, typer.Option("--zip", help="The autograder for Gradescope's own machines.")] = False,
    course: CourseOption = Path(),
    to: ToOption = None,
) -> None:
    """What we graded as Gradescope's `results.json`, one a student; or the zip of an autograder.

    The zip runs the public checks and holds nothing else: Gradescope lends no containers, and what lies there lies
    beside the student's code.

    Example: `autograder export gradescope hw1 --zip`
    """
    from autograder.homework.assignment import load_assignment
    from autograder.records.exports.gradescope import autograder_zip, write_results

    with _opened(course, name, graded=not packed) as (loaded, record):
        assignment = load_assignment(loaded.files(name))
        if packed:
            data = autograder_zip(loaded, assignment)
            _write(to or loaded.root / "exports" / f"{name}-gradescope.zip", data)
            print("Public checks only: nothing hidden is in it, and Gradescope has no containers.", file=sys.stderr)
            return
        folder = to or loaded.root / "exports" / f"{name}-gradescope"
        number = write_results(loaded, assignment, record, folder)
        print(folder)
        print(f"{number} results, one a student.", file=sys.stderr)


@contextmanager
def _opened(course: Path, name: str, *, graded: bool = True) -> Iterator[tuple[Course, Record]]:
    """The course and the record of a homework, with what people gave. Raises UserError if nothing is graded."""
    from autograder.course.course import load_course
    from autograder.records.pages import take_over_from_book
    from autograder.records.record import Record

    loaded = load_course(course)
    with Record(loaded.root, name) as record:
        cells = record.homeworks().get(name)
        if cells is None and graded:
            raise UserError(f"nothing of {name} is graded yet; run `autograder grade {name}`.")
        if cells is not None:
            take_over_from_book(loaded, record, cells)
        yield loaded, record


def _write(path: Path, content: str | bytes) -> None:
    """Write it whole or not at all, and say where."""
    from autograder.report import write_atomically

    write_atomically(path, content)
    print(path)


def _say(found: Filled) -> None:
    """Who is in it, and who is not."""
    from autograder.feedback.text import amount, count

    print(f"Points of {count(len(found.filled), 'student')}.", file=sys.stderr)
    if found.scaled is not None:
        print(f"They are scaled to the {amount(found.scaled)} that the file gives at most.", file=sys.stderr)
    if found.missing:
        print(f"Graded, but not in the file: {', '.join(found.missing)}.", file=sys.stderr)
    for sentence in found.unknown:
        print(f"Left as it is: {sentence}", file=sys.stderr)
