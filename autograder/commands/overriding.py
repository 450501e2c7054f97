"""`autograder override` and `autograder log`: what people decide about a homework, and what they decided."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from autograder.commands.for_tas import CourseOption, JsonOption, Name
from autograder.errors import UserError

NEGATIVE = {"ignore_unknown_options": True}  # `-1` is a number of points, and no option


def override(
    student: Annotated[str, typer.Argument(help="The student's id.")],
    name: Name,
    cell: Annotated[str, typer.Argument(help="The graded cell: pixelcnn-mask.")],
    points: Annotated[str | None, typer.Argument(help="Points it gets.", show_default=False)] = None,
    why: Annotated[str, typer.Option("--why", help="The reason; the student reads it.")] = "",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take an earlier override back.")] = False,
    by: Annotated[str, typer.Option("--by", help="Who decides.", show_default="your login")] = "",
    course: CourseOption = Path(),
) -> None:
    """Give a cell other points than its checks did; the points stay whatever is graded again.

    It is noted in `log.jsonl` with author and time, entered in the gradebook, and shown with its reason on the
    student's page.

    Example: `autograder override ada hw1 pixelcnn-mask 1 --why "the mask is right, the check was wrong"`
    """
    from autograder.course.course import load_course
    from autograder.feedback.text import amount
    from autograder.records.log import Override, append, author, read_log
    from autograder.records.overrides import entered, looked_up
    from autograder.records.record import Record

    if withdraw == (points is not None):
        raise UserError("say how many points the cell gets, or --withdraw.")
    if not why.strip():
        raise UserError('say why with --why "…"; the student reads it.')
    loaded = load_course(course)
    given = None if points is None else _points(points)
    _ = loaded.extensions  # a broken file is said before anything is noted
    with Record(loaded.root, name) as record:
        found = looked_up(loaded, record, student, cell)
        if given is not None and not 0 <= given <= found.most:
            raise UserError(f"`{cell}` has {amount(found.most)}; {given:g} is not between 0 and that.")
        if withdraw and cell not in read_log(loaded.log_path).of(found.student, name):
            raise UserError(f"there is no override of `{cell}` of {found.student} in {name}.")
        now = datetime.now(UTC).replace(microsecond=0)
        entry = Override(
            at=now, by=by or author(), why=why.strip(), student=found.student, homework=name, cell=cell, points=given,
            was=found.points,
        )  # fmt: skip
        append(loaded.log_path, entry)
        counts = entered(loaded, record, found.student, cell)
    was = "nothing" if found.points is None else f"{found.points:g}"
    print(f"{found.student}, {name}, {cell}: {was} -> {counts:g} of {amount(found.most)}")


def _points(text: str) -> float:
    """A number of points, with a decimal comma if need be. Raises UserError if it is none."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"`{text}` is no number of points; write 0.75.")
    return value


def log(
    student: Annotated[str | None, typer.Option("--student", help="Only what is about this student.")] = None,
    course: CourseOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Print what people decided: overrides and imported marks, oldest first.

    Example: `autograder log --student ada`
    """
    from autograder.course.course import load_course
    from autograder.course.marks import said
    from autograder.feedback.text import amount, count, line
    from autograder.records.log import MarksGiven, read_log

    loaded = load_course(course)
    if student is not None and student not in loaded.people:
        raise UserError(f"`{student}` is no student of the course.")
    decided = read_log(loaded.log_path)
    for entry in decided.entries:
        about = {entry.student} if not isinstance(entry, MarksGiven) else set(entry.marks)
        if student is not None and student not in about:
            continue
        if as_json:
            print(entry.model_dump_json())
            continue
        when = f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC {line(entry.by)}"
        why = f" ({line(entry.why)})" if entry.why else ""
        if not isinstance(entry, MarksGiven):
            what = "taken back" if entry.points is None else amount(entry.points)
            print(f"{when}: {entry.student} {entry.homework} {entry.cell}: {what}{why}")
            continue
        print(f"{when}: {count(len(entry.marks), 'mark')} of {entry.component}{why}")
        for who in entry.marks if student is None else [student]:
            print(f"    {who}: {said(entry.of(who))}")
