"""The page of a class, and a page for whoever handed in something that cannot be graded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from autograder.course.course import Course
from autograder.feedback import Remarks, page_name, rejected_page, student_page, write_class_page
from autograder.homework.assignment import Assignment
from autograder.records.by_hand import take_over
from autograder.records.gradebook import Book, StudentScore
from autograder.records.record import Record
from autograder.records.rendering import makers, remarked_of
from autograder.records.reports import final_report
from autograder.records.scores import known_people
from autograder.records.standing import Entered, entered_now, remarks_of_class
from autograder.records.state import State, digest_of
from autograder.report import write_atomically

CLASS = "class page"
THEIRS = ("collecting", "place")  # what failed there is for its author to mend


def refresh(course: Course, assignment: Assignment, record: Record, entered: Entered | None = None) -> None:
    """Take over what people gave in formgrader, and write anew whatever speaks of it; nothing is graded.

    Args:
        entered: what the gradebook says, if somebody has just read it.

    Raises:
        UserError: the gradebook cannot be used.
    """
    entered = entered or entered_now(course, record)
    with Book(course.gradebook_url) as book:
        take_over(record, book, entered.scores.get(assignment.name, {}))
    remarks = remarks_of_class(course, record)
    said: dict[str, Remarks] = {}
    for state in record.states():
        said[state.who] = remarks(state)
        if state.report is not None:
            page_again(course, record, assignment, state, said[state.who])
    write_pages(course, assignment, record, entered, said)


def take_over_from_book(course: Course, record: Record, cells: Mapping[str, float]) -> dict[str, StudentScore]:
    """Take over what people gave in formgrader for cells of these points, and return all that stands there of them.

    Raises:
        UserError: the gradebook cannot be used.
    """
    with Book(course.gradebook_url) as book:
        scores = {score.student: score for score in book.read_scores(record.homework, cells)}
        take_over(record, book, scores)
    return scores


def write_pages(
    course: Course, assignment: Assignment, record: Record, entered: Entered, remarks: Mapping[str, Remarks]
) -> None:
    """Write what is missing or has changed since it was written."""
    states = list(record.states("rejected"))
    for state in states:
        if state.student and state.report is None and state.origin in THEIRS:
            _write_rejected(course, assignment, record, state)
    rejected = {state.who: state.rejected or "" for state in states}
    total = hashlib.sha256(makers() + assignment.title.encode())
    for row in record.standing():
        total.update(f"{row}".encode())
    for who, score in entered.scores.get(assignment.name, {}).items():
        theory = [score.cells.get(cell) for cell in assignment.manual]
        total.update(f"{who}\0{course.roster.get(who) or score.name}\0{theory}".encode())
    path = course.feedback_dir(assignment.name) / "class.html"
    if not path.is_file() or record.written(CLASS) != total.hexdigest():
        known = known_people(course, assignment, entered, remarks)
        strangers = {state.who for state in states if not state.student}
        write_class_page(record.briefs(), rejected, assignment.title, path, known, strangers)
        record.put_written(CLASS, total.hexdigest())


def page_again(course: Course, record: Record, assignment: Assignment, state: State, remarks: Remarks) -> None:
    """Write a student's page anew from the report that counts, if what people and rules make of it has changed."""
    remarked = remarked_of(assignment, remarks)
    if state.remarked == remarked:
        return
    report = final_report(course.report_path(assignment.name, state.who), final=False)
    if report is None:
        return
    page = student_page(report, assignment.title, rule=assignment.config.feedback, remarks=remarks)
    write_atomically(course.feedback_dir(assignment.name) / page_name(state.who), page)
    record.change(state.who, remarked=remarked, page=digest_of(page.encode()))


def _write_rejected(course: Course, assignment: Assignment, record: Record, state: State) -> None:
    path = course.feedback_dir(assignment.name) / page_name(state.who)
    content = digest_of(makers() + f"{state.who}\0{assignment.title}\0{state.rejected}".encode())
    if not path.is_file() or state.content != content:
        page = rejected_page(state.who, assignment.title, state.rejected or "")
        write_atomically(path, page)
        record.change(state.who, content=content, page=digest_of(page.encode()))
