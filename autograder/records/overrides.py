"""One override: looked up before it is noted, entered in the gradebook and on the student's page after."""

from __future__ import annotations

from dataclasses import dataclass

from autograder.course.course import Course
from autograder.errors import UserError
from autograder.homework.assignment import load_assignment
from autograder.records.gradebook import Book
from autograder.records.pages import refresh
from autograder.records.record import Record
from autograder.records.scores import write_scores
from autograder.records.standing import entered_now


@dataclass(frozen=True)
class Found:
    """The cell that is meant."""

    student: str
    most: float
    points: float | None  # that count now; None if the student has none


def looked_up(course: Course, record: Record, student: str, cell: str) -> Found:
    """The cell of a student's homework. Raises UserError if there is no such student, homework or cell."""
    name = record.homework
    homeworks = record.homeworks()
    if name not in homeworks:
        known = ", ".join(homeworks) or "none"
        raise UserError(f"nothing of {name} is graded yet in {course.root} (graded: {known}).")
    if cell not in homeworks[name]:
        raise UserError(f"{name} has no graded cell `{cell}`; there are {', '.join(homeworks[name])}.")
    known_people = {who.casefold(): who for who in (*course.people, *(state.who for state in record.states()))}
    if student.casefold() not in known_people:
        raise UserError(f"`{student}` is no student of the course.")
    who = known_people[student.casefold()]
    return Found(who, homeworks[name][cell], _counts(course, record, who, cell))


def entered(course: Course, record: Record, student: str, cell: str) -> float:
    """Bring gradebook, scores and pages up to the log; returns the points that count now.

    Raises:
        UserError: the gradebook cannot be used; what is noted holds, and the next command enters it.
    """
    decided = entered_now(course, record)
    write_scores(course, record, decided)
    refresh(course, load_assignment(course.files(record.homework)), record, decided)
    return _counts(course, record, student, cell) or 0.0


def _counts(course: Course, record: Record, student: str, cell: str) -> float | None:
    with Book(course.gradebook_url) as book:
        scores = book.read_scores(record.homework, record.homeworks()[record.homework])
    mine = next((score for score in scores if score.student == student), None)
    return mine.cells[cell].points if mine is not None and cell in mine.cells else None
