"""From what a class handed in to `submitted/`, each with its state."""

from __future__ import annotations

from pathlib import Path

from autograder.course.course import Course
from autograder.homework.assignment import Assignment
from autograder.records.state import StateRecord
from autograder.submission import Submission
from autograder.submissions.collect import Look, Rejected, collect, store


def collect_into(course: Course, assignment: Assignment, source: Path, record: StateRecord, look: Look) -> None:
    """Store what was handed in under `submitted/`, whatever can be; the record says what came of each.

    Args:
        look: says what is odd about a notebook.
    """
    for item in collect(source, assignment, course.roster, course.config.due.get(assignment.name), look):
        if isinstance(item, Rejected):
            record.rejected(item.student or item.path, item.sentence)
        else:
            store(item, assignment, course.submitted_dir)
            record.collected(item.student, item.notes)


def stored(course: Course, assignment: Assignment, record: StateRecord, look: Look) -> dict[str, Submission]:
    """What lies under `submitted/`, by student; what cannot be graded is told to the record."""
    found: dict[str, Submission] = {}
    due = course.config.due.get(assignment.name)
    for item in collect(course.submitted_dir, assignment, course.roster, due, look):
        if isinstance(item, Rejected):
            record.rejected(item.student or item.path, item.sentence)
        else:
            found[item.student] = item
    return found
