"""`autograder exam` and `autograder marks`: oral exams, and marks that people give."""

from __future__ import annotations

import sys
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from autograder.commands.for_tas import CourseOption
from autograder.errors import UserError


def exam_init(course: CourseOption = Path()) -> None:
    """Write exam.yaml with forty questions on deep generative models, to be changed at will.

    Example: `autograder exam init --course dgm-2026`
    """
    from autograder.course.course import load_course
    from autograder.course.exam import FILE, example
    from autograder.report import write_atomically

    loaded = load_course(course)
    path = loaded.root / FILE
    if path.exists():
        raise UserError(f"{path} exists already.")
    write_atomically(path, example(loaded.name))
    print(path)


def exam_draw(
    seats: Annotated[
        Path | None, typer.Option(help="A file with a student's id a line, in the order in which they sit.")
    ] = None,
    course: CourseOption = Path(),
) -> None:
    """Give each student questions of exam.yaml: a page to print, and a sheet to mark in.

    The same draw comes out whenever it is made again. Neighbours, by the order of students.csv or of `--seats`, share
    no question. A sheet that is there already is not written over.

    Example: `autograder exam draw --course dgm-2026`
    """
    from autograder.course.course import load_course
    from autograder.course.exam import draw, load_exam, marking_sheet
    from autograder.feedback.exampage import Card, exam_page
    from autograder.feedback.text import line
    from autograder.records.scores import safe
    from autograder.report import write_atomically

    loaded = load_course(course)
    exam = load_exam(loaded.root)
    component = loaded.policy.components.get(exam.component)
    if component is None or component.homeworks is not None:
        raise UserError(
            f"exam.yaml: `component` names `{exam.component}`, which takes no marks in the course's policy."
        )
    students = list(loaded.people) if seats is None else _seats(seats, loaded.people)
    if not students:
        raise UserError(f"{loaded.root} has no students yet; list them in students.csv.")
    folder = loaded.root / "exam"
    sheet = folder / f"{exam.component}.csv"
    if sheet.exists():
        raise UserError(f"{sheet} is there already, perhaps with marks in it; move it away to draw anew.")
    drawn = draw(exam, students, loaded.config.salt)
    asked = {n: (n, question.topic, question.text) for n, question in enumerate(exam.questions, 1)}
    cards = [Card(who, loaded.roster.get(who, ""), [asked[n] for n in drawn[who]]) for who in students]
    page = folder / f"{exam.component}.html"
    write_atomically(page, exam_page(exam.title, cards))
    names = {who: safe(line(loaded.roster.get(who, ""))) for who in students}  # it is opened in a spreadsheet
    write_atomically(sheet, marking_sheet(exam, names, drawn, component.parts))
    print(f"{page}\n{sheet}")


def _seats(path: Path, people: Collection[str]) -> list[str]:
    """Students in the order of a file."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}."
        ) from None
    found: list[str] = []
    for number, text in enumerate(lines, 1):
        student = text.strip()
        if student and (student not in people or student in found):
            what = "is there twice" if student in found else "is no student of the course"
            raise UserError(f"{path}, line {number}: `{student}` {what}.")
        found += [student] if student else []
    return found


def marks_import(
    file: Annotated[Path, typer.Argument(help="A CSV with the columns student and points.")],
    as_: Annotated[
        str, typer.Option("--as", help="The component or condition they are of.", show_default="the file's name")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; nothing is written.")] = False,
    why: Annotated[str, typer.Option("--why", help="A remark for the log.")] = "",
    by: Annotated[str, typer.Option("--by", help="Who gave them.", show_default="your login")] = "",
    course: CourseOption = Path(),
) -> None:
    """Take in marks that people gave: an exam, a project, an oral, attendance.

    Commas, semicolons or tabs, decimal points or commas. All of the file is taken, or nothing: unknown students,
    doubled rows and points above the maximum are said with their line. What is there already changes only where the
    file says something else; an empty field says nothing.

    Example: `autograder marks import exam.csv --dry-run`
    """
    from autograder.course.course import load_course
    from autograder.course.marks import merged, read_marks, said
    from autograder.feedback.text import count
    from autograder.records.log import MarksGiven, append, author, read_log

    loaded = load_course(course)
    what = as_ or file.stem
    parts, most, unit = loaded.policy.marked(what)
    given = read_marks(file, {who: person.name for who, person in loaded.people.items()}, parts, most, unit)
    old = read_log(loaded.log_path).marks.get(what, {})
    changes = merged(old, given)
    for student, marks in changes.items():
        print(f"{student}: {said(old.get(student))} -> {said(marks)}")
    talk = (
        f"{count(len(given), 'mark')} of {what}: {count(len(changes), 'change')}, {len(given) - len(changes)} as before"
    )
    if changes and not dry_run:
        written = {who: [None if m is None else str(m) for m in marks] for who, marks in changes.items()}
        now = datetime.now(UTC).replace(microsecond=0)
        append(loaded.log_path, MarksGiven(at=now, by=by or author(), why=why, component=what, marks=written))
    print(f"{talk}{'; nothing was written (--dry-run)' if dry_run else ''}.", file=sys.stderr)
