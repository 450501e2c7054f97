"""Settling one report: everything that follows from it, written in an order that survives a kill at any moment."""

from __future__ import annotations

from autograder.course.course import Course
from autograder.feedback import page_name
from autograder.homework.assignment import Assignment
from autograder.records.gradebook import Book
from autograder.records.rendering import Rendered, Stamp, answers_of, write_stamp
from autograder.report import Report, write_atomically
from autograder.submission import Submission


def settle(
    book: Book, course: Course, assignment: Assignment, made: Rendered, submission: Submission, *, fresh: bool = True
) -> None:
    """Write the report, its scores in the gradebook, the notebook a human grades from, and the student's page.

    The report comes first: once it is there its submission is done, and everything else is written again from it when
    the class is graded. The stamp comes last: with it nothing is.

    Args:
        fresh: the report has just been made; otherwise it is the one that lies in the course folder.

    Raises:
        UserError: the gradebook cannot be used.
    """
    report = made.report
    if fresh:
        report.save(course.report_path(assignment.name, report.student))
    record(book, course, assignment, made, submission)
    write_atomically(course.feedback_dir(assignment.name) / page_name(report.student), made.page)
    if not report.infrastructure:
        write_stamp(course, assignment.name, report.student, made.stamp)


def settle_unchanged(
    book: Book, course: Course, assignment: Assignment, report: Report, stamp: Stamp, submission: Submission
) -> None:
    """Enter a report whose page and notebook are as they should be: only the gradebook may be another.

    Raises:
        UserError: the gradebook cannot be used.
    """
    person = course.people.get(report.student)
    book.write(report, assignment, answers_of(stamp), person=person, submitted=submission.submitted)


def record(book: Book, course: Course, assignment: Assignment, made: Rendered, submission: Submission) -> None:
    """Enter one report in the gradebook and write the notebook a human grades from.

    The gradebook comes first: if the grader is killed in between, the old notebook still tells which answers changed.
    An infrastructure failure leaves both as they were.
    """
    report = made.report
    if report.infrastructure:
        return
    person = course.people.get(report.student)
    book.write(report, assignment, made.answers, person=person, submitted=submission.submitted, changed=made.changed)
    write_atomically(course.autograded_path(assignment.name, report.student), made.notebook)
