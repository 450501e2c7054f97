"""From what a class handed in to `submitted/`, each with what came of it in the record."""

from __future__ import annotations

from pathlib import Path

from autograder.course.course import Course
from autograder.grading.places import others_of, signature_of
from autograder.homework.assignment import Assignment
from autograder.records.record import Record
from autograder.records.state import now
from autograder.submission import Submission
from autograder.submissions.collect import Look, Rejected, collect_each, store


def collect_into(course: Course, assignment: Assignment, source: Path, record: Record, look: Look) -> None:
    """Store what was handed in under `submitted/`, whatever can be; the record says what came of each.

    Args:
        look: says what is odd about a notebook.
    """
    for state in [state for state in record.states() if not state.student]:  # of an older collection
        record.accepted(state.who, "collecting")
    places, others = record.places(), others_of(assignment)
    seen: set[str] = set()
    due = course.config.due.get(assignment.name)
    for item in collect_each(source, assignment, course.roster, due, look):
        who = item.student or item.path
        if who not in seen:
            seen.add(who)
            record.accepted(who, "collecting")
        if isinstance(item, Rejected):
            record.rejected(who, item.sentence, "collecting", student=item.student is not None)
            continue
        signature, owner = places.get(item.student, ("", ""))
        whole = owner == who and signature == signature_of(course, assignment, item.student, others)
        if not (whole and _is_known(record, item)):
            store(item, assignment, course.submitted_dir)
        record.change(who, came=now(), source=item.path, notes=item.notes, handed=item.sha256)


def _is_known(record: Record, item: Submission) -> bool:
    """True if this very hand-in is what the record knows to lie under `submitted/`."""
    state = record.get(item.student)
    when = None if item.submitted is None else item.submitted.isoformat()
    return state is not None and (state.sha, state.submitted) == (item.sha256, when)
