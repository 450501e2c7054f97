"""The page of a class, and a page for whoever handed in something that cannot be graded."""

from __future__ import annotations

import hashlib

from autograder.course.course import Course
from autograder.feedback import page_name, rejected_page, write_class_page
from autograder.homework.assignment import Assignment
from autograder.records.record import Record
from autograder.records.rendering import makers
from autograder.records.scores import known_people
from autograder.records.state import State, digest_of
from autograder.report import write_atomically

CLASS = "class page"
THEIRS = ("collecting", "place")  # what failed there is for its author to mend


def write_pages(course: Course, assignment: Assignment, record: Record) -> None:
    """Write what is missing or has changed since it was written."""
    states = list(record.states())
    for state in states:
        if state.student and state.report is None and state.rejected is not None and state.origin in THEIRS:
            _write_rejected(course, assignment, record, state)
    rejected = {state.who: state.rejected for state in states if state.rejected is not None}
    total = hashlib.sha256(makers() + assignment.title.encode())
    for state in states:
        total.update(f"{state.who}\0{state.report}\0{state.rejected}\0".encode())
    known = known_people(course, assignment, record)
    total.update(repr(sorted(known.items())).encode())
    path = course.feedback_dir(assignment.name) / "class.html"
    if not path.is_file() or record.written(CLASS) != total.hexdigest():
        write_class_page(record.briefs(), rejected, assignment.title, path, known)
        record.put_written(CLASS, total.hexdigest())


def _write_rejected(course: Course, assignment: Assignment, record: Record, state: State) -> None:
    page = rejected_page(state.who, assignment.title, state.rejected or "")
    path = course.feedback_dir(assignment.name) / page_name(state.who)
    if not path.is_file() or state.page != digest_of(page.encode()):
        write_atomically(path, page)
        record.change(state.who, page=digest_of(page.encode()))
