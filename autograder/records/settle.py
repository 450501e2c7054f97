"""Settling one report: everything that follows from it, written in an order that survives a kill at any moment."""

from __future__ import annotations

from dataclasses import dataclass

from autograder.course.course import Course
from autograder.feedback import page_name
from autograder.homework.assignment import Assignment
from autograder.records.autograded import seen_answers
from autograder.records.gradebook import Book
from autograder.records.record import Record
from autograder.records.rendering import Rendered, answers_of
from autograder.records.state import State, digest_of
from autograder.report import Report, write_atomically
from autograder.submission import Stored, Submission


@dataclass(frozen=True)
class Desk:
    """Where everything about one homework of a course is written."""

    course: Course
    assignment: Assignment
    book: Book
    record: Record


def settle(desk: Desk, made: Rendered, submission: Submission | Stored, *, fresh: bool = True) -> None:
    """Write the report, its scores in the gradebook, the notebook a human grades from, the student's page, the record.

    The report comes first: once it is there its submission is done, and everything else is written again from it when
    the class is graded. The record comes last: with it nothing is.

    Args:
        fresh: the report has just been made; otherwise it is the one that lies in the course folder.

    Raises:
        UserError: the gradebook cannot be used.
    """
    name, report = desk.assignment.name, made.report
    path = desk.course.report_path(name, report.student)
    if fresh:
        write_atomically(path, made.text)
    enter(desk, made, submission)
    write_atomically(desk.course.feedback_dir(name) / page_name(report.student), made.page)
    known: dict[str, object] = {
        "content": made.content,
        "remarked": made.remarked,
        "answered": made.answered,
        "page": digest_of(made.page.encode()),
    }
    if not report.infrastructure:
        known["answers"] = made.answers
    desk.record.settled(report, path, **known)


def enter(desk: Desk, made: Rendered, submission: Submission | Stored) -> None:
    """Enter one report in the gradebook and write the notebook a human grades from.

    The gradebook comes first: if the grader is killed in between, the record still tells which answers changed.
    An infrastructure failure leaves both as they were.
    """
    report, course = made.report, desk.course
    if report.infrastructure:
        return
    person, answers, when = course.people.get(report.student), answers_of(made.answered), submission.submitted
    changed = _changed(desk, made)
    desk.book.write(report, desk.assignment, answers, person=person, submitted=when, changed=changed)
    write_atomically(course.autograded_path(desk.assignment.name, report.student), made.notebook)


def _changed(desk: Desk, made: Rendered) -> frozenset[str]:
    """Manual cells whose answer is not the one that was entered before; of a record made anew the notebook tells it."""
    if not made.answers:
        return frozenset()
    before, student = desk.record.get(made.report.student), made.report.student
    known = before.answers if before is not None else {}
    known = known or seen_answers(desk.course.autograded_path(desk.assignment.name, student))
    return frozenset(name for name, digest in made.answers.items() if known.get(name, digest) != digest)


def enter_again(desk: Desk, state: State) -> None:
    """Enter a report whose page and notebook are as they should be in a gradebook that lacks it.

    Raises:
        UserError: the gradebook cannot be used.
    """
    report = Report.load(desk.course.report_path(desk.assignment.name, state.who))
    person, answers = desk.course.people.get(state.who), answers_of(state.answered)
    desk.book.write(report, desk.assignment, answers, person=person, submitted=state.when)
