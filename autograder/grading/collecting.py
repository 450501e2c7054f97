"""From what a class handed in to `submitted/`, each with what came of it in the record."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

from autograder.course.course import Course
from autograder.errors import UserError
from autograder.grading.places import Signatures, clock_of
from autograder.homework.assignment import Assignment
from autograder.records.attempts import keep
from autograder.records.record import Record
from autograder.records.state import now
from autograder.records.ways import write_way
from autograder.submission import Submission
from autograder.submissions.collect import Look, Rejected, collect_each, roster_of
from autograder.submissions.storing import store
from autograder.submissions.times import Clock, read_times


def collect_into(
    course: Course, assignment: Assignment, source: Path, record: Record, look: Look, times: Path | None = None
) -> None:
    """Store what was handed in under `submitted/`, whatever can be; the record says what came of each.

    Args:
        look: reads a notebook.
        times: a report of the course page that says when each was handed in.

    Raises:
        UserError: the source or the report cannot be read; nothing is stored then.
    """
    people, clock = roster_of(course.people.values(), assignment), clock_of(course, assignment)
    if times is not None:
        clock = replace(clock, report=read_times(times, people, clock.zone))
    best = course.config.late.submission == "best"
    items = collect_each(source, assignment, people, clock, look, every=best)
    first = next(items, None)
    if first is None:
        raise UserError(
            f"{source} holds nothing that could be {assignment.name} of anybody: no notebook, no zip, no folder of a "
            "student. Nothing was collected; what was collected before stays."
        )
    for state in [state for state in record.states() if not state.student]:  # of an older collection
        record.accepted(state.who, "collecting")
    places, look_at = record.places(), Signatures(course, assignment)
    seen: set[str] = set()
    lies: dict[str, str | None] = {}  # student -> hash of what lies under `submitted/`
    for item in itertools.chain([first], items):
        who = item.student or item.path
        if who not in seen:
            seen.add(who)
            record.accepted(who, "collecting")
        if isinstance(item, Rejected):
            record.rejected(who, item.sentence, "collecting", student=item.student is not None)
            continue
        if _is_kept(record, item, clock):
            kept = f"`{item.path}` came after the deadline; what you handed in before it counts."
            before = record.get(who)
            earlier = before.notes if before is not None else ()
            record.change(who, notes=tuple(dict.fromkeys((*earlier, kept))))
            continue
        way = _way(item)
        there = lies.setdefault(who, before.sha if (before := record.get(who)) is not None else None)
        if best and there not in (None, item.sha256):
            keep(course, assignment, item, way)
            continue
        signature, owner = places.get(item.student, ("", ""))
        whole = owner == who and signature == look_at.of(item.student)
        if not (whole and _is_known(record, item)):
            store(item, assignment, course.submitted_dir)
        lies[who] = item.sha256
        write_way(course, assignment.name, who, way)
        record.change(who, **way)


def _way(item: Submission) -> dict[str, object]:
    """How something came, as fields of `State`."""
    return {
        "came": now(),
        "source": item.path,
        "notes": item.notes,
        "handed": item.sha256,
        "matched": item.matched,
        "exported": item.exported,
        "clock": item.clock,
        "marked_late": item.marked_late,
    }


def _is_kept(record: Record, item: Submission, clock: Clock) -> bool:
    """True if what is there came in time, this did not, and the course counts the last one in time."""
    state = record.get(item.student)
    if not clock.in_time or state is None or state.sha is None or state.sha == item.sha256:
        return False
    return clock.is_in_time(item.student, state.when) and not clock.is_in_time(item.student, item.submitted)


def _is_known(record: Record, item: Submission) -> bool:
    """True if this very hand-in is what the record knows to lie under `submitted/`."""
    state = record.get(item.student)
    when = None if item.submitted is None else item.submitted.isoformat()
    return state is not None and (state.sha, state.submitted) == (item.sha256, when)
