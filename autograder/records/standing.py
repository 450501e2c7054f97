"""Where students stand in the course: what was graded, what people decided, and what being late costs, put together.

The gradebook has the points, the record what was handed in and when, the log what people decided. `enter_decisions`
brings the gradebook up to the other two, so that nbgrader's own commands see the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from autograder.course.course import Course
from autograder.course.grades import IN_TIME, Homework, Standing
from autograder.course.late import HandIn, Late, last_deadline, lateness
from autograder.feedback import ByHand, Given, Remarks, text
from autograder.homework.files import CONFIG
from autograder.records.gradebook import Book, Lateness, StudentScore
from autograder.records.log import Override, read_log
from autograder.records.record import Record
from autograder.records.state import State
from autograder.report import exact

UNKNOWN = "when is not known, so it is not counted as late"
States = Mapping[str, State]  # homework -> where one student stands in it


def homeworks_of(course: Course, record: Record) -> list[str]:
    """The course's homeworks, hw2 before hw10: those there are and those that were graded once."""
    there = {path.parent.name for path in course.assignments_dir.glob(f"*/{CONFIG}")}
    return sorted(there | record.homeworks().keys(), key=_in_order)


def lateness_of(course: Course, student: str, states: States) -> dict[str, Late]:
    """What the course's late rule makes of all a student handed in, by homework."""
    handed_in = {
        homework: HandIn(state.when, state.late)
        for homework, state in states.items()
        if state.sha is not None or state.report is not None
    }
    return lateness(course.config.late, course.config.due, course.extensions.get(student, {}), handed_in)


def remarks_of(course: Course, record: Record, student: str, answered: Mapping[str, bool] | None = None) -> Remarks:
    """What people and the course's rules add to a report of the record's homework.

    Args:
        answered: cells graded by hand, and whether there is an answer, where the record does not know it yet.
    """
    states = record.of(student, course.config.due)
    late = lateness_of(course, student, states).get(record.homework, IN_TIME)
    given = read_log(course.log_path).of(student, record.homework)
    state = states.get(record.homework, State(student))
    last = last_deadline(record.homework, course.config.due, course.extensions)
    by_hand = {cell: ByHand(points, comment, again) for cell, (points, comment, again) in state.by_hand.items()}
    blank = [cell for cell, there in (state.answered if answered is None else answered).items() if not there]
    return Remarks(
        late.words,
        late.percent,
        {cell: _given(override) for cell, override in given.items()},
        {cell: ByHand(0.0, blank=True) for cell in blank} | by_hand,
        handed_in=_handed_in(state),
        newer=state.rejected or "" if state.origin in ("collecting", "place") else "",
        deadline="" if last is None else text.moment(last.isoformat()),
        over=last is not None and datetime.now(UTC) >= last,
    )


def _handed_in(state: State) -> str:
    """When something was handed in and what says so, or that it is not known."""
    if state.when is not None:
        return f"{text.moment(state.when.isoformat())} ({state.clock or 'timestamp.txt'})"
    return "late, says the course page" if state.marked_late else UNKNOWN


def enter_decisions(course: Course, record: Record, book: Book, homeworks: Mapping[str, Mapping[str, float]]) -> None:
    """Bring the gradebook up to the log and the late rule; what is there already is left alone.

    Args:
        homeworks: those that were graded, with their cells.

    Raises:
        UserError: the log, the extensions or the gradebook cannot be used.
    """
    decided, states = read_log(course.log_path), record.everybody()
    late = {student: lateness_of(course, student, mine) for student, mine in states.items()}
    for homework in homeworks:
        book.decide(homework, decided.points(homework), decided.withdrawn(homework))
        scores = book.read_scores(homework, homeworks[homework])
        book.put_late(
            homework,
            course.config.due.get(homework),
            {
                score.student: Lateness(
                    float(late.get(score.student, {}).get(homework, IN_TIME).cost(earned_of(score))),
                    _more_time(course, score.student, homework),
                )
                for score in scores
            },
        )


def standings(course: Course, record: Record, now: datetime) -> list[Standing]:
    """Where everybody stands: of the course's list in its order, and then whoever else handed something in.

    Raises:
        UserError: the log, the extensions or the gradebook cannot be used.
    """
    graded, names = record.homeworks(), homeworks_of(course, record)
    with Book(course.gradebook_url) as book:
        enter_decisions(course, record, book, graded)
        scores = {hw: {s.student: s for s in book.read_scores(hw, cells)} for hw, cells in graded.items()}
    states, decided = record.everybody(), read_log(course.log_path)
    others = sorted({*states, *(student for found in scores.values() for student in found)} - course.people.keys())
    found = []
    for student in [*course.people, *others]:
        mine = states.get(student, {})
        late = lateness_of(course, student, mine)
        homeworks = {
            hw: _homework(scores.get(hw, {}).get(student), mine.get(hw), late.get(hw, IN_TIME), graded.get(hw, {}))
            for hw in names
        }
        homeworks = {hw: _closed(course, student, hw, state, now) for hw, state in homeworks.items()}
        marks = {what: given[student] for what, given in decided.marks.items() if student in given}
        name = course.roster.get(student) or next((s[student].name for s in scores.values() if student in s), "")
        found.append(Standing(student, name, homeworks, marks))
    return found


def earned_of(score: StudentScore) -> Fraction:
    """Points of all cells, exactly; a cell that waits for a human counts with what it has."""
    return sum((exact(cell.points) for cell in score.cells.values()), Fraction(0))


def _homework(score: StudentScore | None, state: State | None, late: Late, cells: Mapping[str, float]) -> Homework:
    most = sum((exact(points) for points in cells.values()), Fraction(0))
    if score is None:
        handed_in = state is not None and state.sha is not None
        words = state.sentence if state is not None else "nothing handed in"
        return Homework(most=most, late=late, words=words, stage="handed in" if handed_in else "nothing")
    waits = [name for name, cell in score.cells.items() if cell.needs_manual]
    waiting = sum((exact(cells.get(name, 0.0)) - exact(score.cells[name].points) for name in waits), Fraction(0))
    rejected = state is not None and state.rejected is not None
    words = state.sentence if state is not None and rejected else "waits for a human" if waits else "graded"
    return Homework(earned_of(score), most, max(waiting, Fraction(0)), late, words, "graded")


def _closed(course: Course, student: str, homework: str, state: Homework, now: datetime) -> Homework:
    """Whether nothing can be handed in any more: the last day is over, or where no day is named, it is graded."""
    due = course.config.due.get(homework)
    extension = course.extensions.get(student, {}).get(homework)
    if due is None:
        closed = state.most > 0
    else:
        last = max(due, extension.until) if extension is not None else due
        closed = now > last + timedelta(days=course.config.late.last_day or 0)
    return replace(state, closed=closed)


def _more_time(course: Course, student: str, homework: str) -> timedelta | None:
    due, extension = course.config.due.get(homework), course.extensions.get(student, {}).get(homework)
    if due is None or extension is None or extension.kind != "extension" or extension.until <= due:
        return None
    return extension.until - due


def _given(override: Override) -> Given:
    return Given(override.points or 0.0, override.why, override.at.isoformat(), override.by)


def _in_order(name: str) -> list[tuple[str, int]]:
    return [(word, int(number or 0)) for word, number in re.findall(r"(\D*)(\d*)", name)]
