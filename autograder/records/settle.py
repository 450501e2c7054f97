"""Settling one report: everything that follows from it, written in an order that survives a kill at any moment."""

from __future__ import annotations

from autograder.course.course import Course
from autograder.feedback import page_name, write_student_page
from autograder.homework.assignment import Assignment
from autograder.homework.restore import restore
from autograder.records.autograded import changed_answers, write_autograded
from autograder.records.gradebook import Book
from autograder.report import Report
from autograder.submission import Submission


def settle(
    book: Book, course: Course, assignment: Assignment, report: Report, submission: Submission, *, fresh: bool = True
) -> None:
    """Write the report, its scores in the gradebook, the notebook a human grades from, and the student's page.

    The report comes first: once it is there its submission is done, and everything else is written again from it
    whenever the class is graded.

    Args:
        fresh: the report has just been made; otherwise it is the one that lies in the course folder.

    Raises:
        UserError: the gradebook cannot be used.
    """
    if fresh:
        report.save(course.report_path(assignment.name, report.student))
    record(book, course, assignment, report, submission)
    page = course.feedback_dir(assignment.name) / page_name(report.student)
    hidden_open = assignment.config.feedback == "everything"
    write_student_page(report, assignment.title, page, hidden_open=hidden_open)


def record(book: Book, course: Course, assignment: Assignment, report: Report, submission: Submission) -> None:
    """Enter one report in the gradebook and write the notebook a human grades from.

    The gradebook comes first: if the grader is killed in between, the old notebook still tells which answers changed.
    An infrastructure failure leaves both as they were.
    """
    if report.infrastructure:
        return
    notebook = submission.notebook
    answers = restore(notebook, assignment.template).answers
    path = course.autograded_path(assignment.name, report.student)
    book.write(
        report,
        assignment,
        answers,
        person=course.people.get(report.student),
        submitted=submission.submitted,
        changed=changed_answers(path, answers),
    )
    write_autograded(path, notebook, assignment.template, answers, report)
