"""One override: looked up before it is noted, entered in the gradebook and on the student's page after."""

from __future__ import annotations

from dataclasses import dataclass

from autograder.course.course import Course
from autograder.errors import UserError
from autograder.feedback import page_name, student_page
from autograder.homework.assignment import load_assignment
from autograder.records.gradebook import Book
from autograder.records.record import Record
from autograder.records.rendering import content_of
from autograder.records.reports import final_report
from autograder.records.standing import enter_decisions, remarks_of
from autograder.records.state import digest_of
from autograder.report import write_atomically


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
    """Bring gradebook and page up to the log; returns the points that count now.

    Raises:
        UserError: the gradebook cannot be used; what is noted holds, and the next command enters it.
    """
    with Book(course.gradebook_url) as book:
        enter_decisions(course, record, book, {record.homework: record.homeworks()[record.homework]})
    page_again(course, record, student)
    return _counts(course, record, student, cell) or 0.0


def page_again(course: Course, record: Record, student: str) -> None:
    """Write a student's page anew from the report that counts."""
    name = record.homework
    report = final_report(course.report_path(name, student), final=False)
    if report is None:
        return
    assignment, remarks = load_assignment(course.files(name)), remarks_of(course, record, student)
    hidden_open = assignment.config.feedback == "everything"
    page = student_page(report, assignment.title, hidden_open=hidden_open, remarks=remarks)
    write_atomically(course.feedback_dir(name) / page_name(student), page)
    content = content_of(assignment, digest_of(report.text.encode()), remarks)
    record.change(student, content=content, page=digest_of(page.encode()))


def _counts(course: Course, record: Record, student: str, cell: str) -> float | None:
    with Book(course.gradebook_url) as book:
        scores = book.read_scores(record.homework, record.homeworks()[record.homework])
    mine = next((score for score in scores if score.student == student), None)
    return mine.cells[cell].points if mine is not None and cell in mine.cells else None
