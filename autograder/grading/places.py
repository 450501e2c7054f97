"""What lies under `submitted/`: read when it is new or has changed, else a `stat` and a row of the record tell it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from autograder.course.course import Course
from autograder.errors import UserError
from autograder.homework.assignment import Assignment
from autograder.homework.files import CONFIG
from autograder.records.record import Record
from autograder.records.state import State
from autograder.records.ways import read_way
from autograder.submission import Stored, Submission
from autograder.submissions.archive import printable
from autograder.submissions.collect import JUNK, Look, Rejected, collect_each, owner, roster_of
from autograder.submissions.roster import Roster
from autograder.submissions.times import Clock

TOGETHER = 50  # students whose places are read between two commits


def look_at_places(course: Course, assignment: Assignment, record: Record, look: Look) -> dict[str, Submission]:
    """Bring the record up to what lies under `submitted/`.

    Returns:
        by student, what cannot be read again where it is graded, since it lies in a zip.
    """
    people = roster_of(course.people.values(), assignment)
    known, groups = record.places(), _groups(course, people)
    look_at = Signatures(course, assignment)
    signatures = {name: look_at.of(name) for names in groups.values() for name in names}
    gone: dict[str, list[str]] = {}
    for name, (_, who) in known.items():
        if who not in groups or name not in groups[who]:
            gone.setdefault(who, []).append(name)
    stale = [
        who
        for who in {**groups, **gone}
        if who in gone or not people.is_student(who) or any(known.get(n) != (signatures[n], who) for n in groups[who])
    ]
    packed: dict[str, Submission] = {}
    for start in range(0, len(stale), TOGETHER):
        with record.together():
            for who in stale[start : start + TOGETHER]:
                for name in gone.get(who, ()):
                    record.remove_place(name)
                found = _read(course, assignment, record, look, people, who, groups.get(who, []))
                if found is not None:
                    packed[who] = found
                for name in groups.get(who, ()):
                    record.put_place(name, signatures[name] if found is None else "", who)
    return packed


def clock_of(course: Course, assignment: Assignment) -> Clock:
    """What is known of the times of a class."""
    rule, name = course.config.late, assignment.name
    more = {who: granted[name].until for who, granted in course.extensions.items() if name in granted}
    grace = timedelta(minutes=rule.grace_minutes)
    return Clock(course.config.due.get(name), in_time=rule.submission == "last in time", grace=grace, more=more)


class Signatures:
    """Tell whether something under `submitted/` is still what it was, without opening it."""

    def __init__(self, course: Course, assignment: Assignment) -> None:
        self._root = os.fspath(course.submitted_dir)
        homeworks = (path.parent.name for path in assignment.files.assignments.glob(f"*/{CONFIG}"))
        self._others = frozenset(homeworks) - {assignment.name}  # folders of theirs are passed over
        self._terms = hashlib.sha256(repr(_terms(course, assignment)).encode())

    def of(self, name: str) -> str:
        """A hash of what `stat` says of it, and of what else decides how it is read; "" if it is not there."""
        total = self._terms.copy()
        try:
            for line in _stats(f"{self._root}/{name}", "", self._others):
                total.update(line.encode("utf-8", "surrogateescape"))
        except OSError:
            return ""
        return total.hexdigest()


def stored(course: Course, state: State) -> Stored:
    """What the record knows of a submission, for whoever grades it."""
    assert state.sha is not None
    assert state.files is not None
    return Stored(
        student=state.who,
        sha256=state.sha,
        root=course.root.resolve(),
        lies=state.files,
        path=state.path,
        notes=state.words,
        submitted=state.when,
        clock=state.clock,
        late=state.late,
        marked_late=state.marked_late,
    )


def _groups(course: Course, people: Roster) -> dict[str, list[str]]:
    """What lies there by whose it is; what is nobody's, by its own name."""
    groups: dict[str, list[str]] = {}
    with os.scandir(course.submitted_dir) as listing:
        entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing)
    for name, is_folder in entries:
        if not JUNK.fullmatch(name):
            groups.setdefault(owner(name, is_folder, people) or printable(name), []).append(name)
    return groups


def _read(
    course: Course,
    assignment: Assignment,
    record: Record,
    look: Look,
    people: Roster,
    who: str,
    names: Sequence[str],
) -> Submission | None:
    """Read what lies there of one student; it is returned if it lies in a zip."""
    record.accepted(who, "place")
    found: Submission | None = None
    clock = clock_of(course, assignment)
    try:
        for item in collect_each(course.submitted_dir, assignment, people, clock, look, names):
            if isinstance(item, Rejected):
                record.rejected(item.student or item.path, item.sentence, "place", student=item.student is not None)
            else:
                found = item
    except UserError as problem:
        record.rejected(who, str(problem), "place", student=people.is_student(who))
    if found is None:
        if record.get(who) is not None:
            record.change(who, sha=None, files=None)
        return None
    root = course.root.resolve()
    lies = None if found.lies is None else {k: os.path.relpath(Path(v).resolve(), root) for k, v in found.lies.items()}
    when = None if found.submitted is None else found.submitted.isoformat()
    values = {"sha": found.sha256, "files": lies, "odd": found.notes, "path": found.path, "submitted": when}
    record.change(who, **values, **_way(course, assignment, record, who, found))
    return found if lies is None else None


def _way(course: Course, assignment: Assignment, record: Record, who: str, found: Submission) -> dict[str, object]:
    """How what lies there came: as it was collected, or else as it lies there."""
    state = record.get(who)
    if state is None or state.handed is None:  # the record was made anew
        way = read_way(course, assignment.name, who)
    else:
        way = {name: getattr(state, name) for name in ("handed", "matched", "exported", "clock", "marked_late")}
    if way.get("handed") != found.sha256:
        known = {"clock": found.clock, "matched": found.matched, "exported": found.exported}
        return known | {"late": found.late, "marked_late": found.marked_late}
    return way | {"late": found.late or bool(way.get("marked_late"))}


def _terms(course: Course, assignment: Assignment) -> tuple[object, ...]:
    """What else decides how a place is read."""
    checkpoints = sorted(str(training.checkpoint) for training in assignment.config.training.values())
    return course.config.due.get(assignment.name), assignment.template_path.name, checkpoints


def _stats(place: str, below: str, others: frozenset[str]) -> Iterator[str]:
    """A line for each file, in a fixed order."""
    found = os.lstat(place)
    if not stat.S_ISDIR(found.st_mode):
        yield f"{below} {found.st_mode} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}\n"
        return
    with os.scandir(place) as listing:
        children = sorted(entry.name for entry in listing)
    for child in children:
        if child == "timestamp.txt" or not (JUNK.fullmatch(child) or (not below and child in others)):
            yield from _stats(f"{place}/{child}", f"{below}/{child}", others)
