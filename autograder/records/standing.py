"""Where students stand in the course: what was graded, what people decided, and what being late costs, put together.

The gradebook has the points, the record what was handed in and when, the log what people decided. `entered_now`
brings the gradebook up to the other two, so that nbgrader's own commands see the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from autograder.course.course import Course
from autograder.course.grades import IN_TIME, Homework, Standing
from autograder.course.late import Late, last_deadline, lateness
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


def lateness_of(course: Course, record: Record, student: str | None = None) -> dict[str, dict[str, Late]]:
    """What the course's late rule makes of what everybody, or one student, handed in: student -> homework -> that.

    Nothing where the course has no deadlines.
    """
    if not course.config.due:
        return {}
    rule, due, more = course.config.late, course.config.due, course.extensions
    same: dict[Late, Late] = {}  # in a large class most are the same
    found = {}
    for who, mine in record.hand_ins(student):
        late = lateness(rule, due, more.get(who, {}), mine)
        found[who] = {homework: same.setdefault(one, one) for homework, one in late.items()}
    return found


def remarks_of(course: Course, record: Record, student: str) -> Remarks:
    """What people and the course's rules add to a report of the record's homework."""
    states = record.of(student, course.config.due)
    late = lateness_of(course, record, student).get(student, {}).get(record.homework, IN_TIME)
    state, ends = states.get(record.homework, State(student)), _ends(course, record.homework)
    return _remarks(state, read_log(course.log_path).of(student, record.homework), late, ends)


def remarks_of_class(course: Course, record: Record) -> Callable[[State], Remarks]:
    """The same for one after the other of a class; what concerns all is worked out once."""
    name, decided, late = record.homework, read_log(course.log_path), lateness_of(course, record)
    ends = _ends(course, name)

    def remarks(state: State) -> Remarks:
        return _remarks(state, decided.of(state.who, name), late.get(state.who, {}).get(name, IN_TIME), ends)

    return remarks


def _ends(course: Course, homework: str) -> tuple[datetime, datetime] | None:
    """The deadline of the course, and when the time of everybody is over; None without one."""
    last = last_deadline(homework, course.config.due, course.extensions)
    return None if last is None else (course.config.due[homework], last)


def _remarks(
    state: State, given: Mapping[str, Override], late: Late, ends: tuple[datetime, datetime] | None
) -> Remarks:
    by_hand = {cell: ByHand(points, comment, again) for cell, (points, comment, again) in state.by_hand.items()}
    remarks = Remarks(
        late.words,
        late.percent,
        {cell: _given(override) for cell, override in given.items()},
        by_hand,
        handed_in=_handed_in(state),
        several=state.several,
        newer=state.rejected or "" if state.origin in ("collecting", "place") else "",
        deadline="" if ends is None else text.moment(ends[1].isoformat()),
        over=ends is not None and datetime.now(UTC) >= ends[1],
        extended=ends is not None and ends[1] > ends[0],
    )
    return remarks.with_blanks(state.answered)


def _handed_in(state: State) -> str:
    """When something was handed in and what says so, or that it is not known."""
    if state.when is not None:
        return f"{text.moment(state.when.isoformat())} ({state.clock or 'timestamp.txt'})"
    return "late, says the course page" if state.marked_late else UNKNOWN


@dataclass(frozen=True)
class Entered:
    """What the gradebook says, brought up to what people decided; read once for all who ask.

    Args:
        scores: homework -> student -> what was earned there.
        late: student -> homework -> what being late costs.
    """

    scores: Mapping[str, Mapping[str, StudentScore]]
    late: Mapping[str, Mapping[str, Late]]


def entered_now(course: Course, record: Record) -> Entered:
    """Bring the gradebook up to the log and the late rule, whatever was graded, and read it.

    Raises:
        UserError: the log, the extensions or the gradebook cannot be used.
    """
    decided, late = read_log(course.log_path), lateness_of(course, record)
    found: dict[str, dict[str, StudentScore]] = {}
    with Book(course.gradebook_url) as book:
        for homework, cells in record.homeworks().items():
            book.decide(homework, decided.points(homework), decided.withdrawn(homework))
            found[homework] = {score.student: score for score in book.read_scores(homework, cells)}
            costs = {
                who: Lateness(_cost(late.get(who, {}).get(homework, IN_TIME), score), _more_time(course, who, homework))
                for who, score in found[homework].items()
            }
            book.put_late(homework, course.config.due.get(homework), costs)
    return Entered(found, late)


def _cost(late: Late, score: StudentScore) -> float:
    return float(late.cost(earned_of(score))) if late.percent else 0.0


def standings(course: Course, record: Record, now: datetime) -> list[Standing]:
    """Where everybody stands: of the course's list in its order, and then whoever else handed something in.

    Raises:
        UserError: the log, the extensions or the gradebook cannot be used.
    """
    graded, names = record.homeworks(), homeworks_of(course, record)
    entered = entered_now(course, record)
    scores = entered.scores
    states, decided = record.everybody(), read_log(course.log_path)
    others = sorted({*states, *(student for found in scores.values() for student in found)} - course.people.keys())
    found = []
    for student in [*course.people, *others]:
        mine = states.get(student, {})
        late = entered.late.get(student, {})
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
    if score is None or state is None or state.report is None:  # points there may be by an override
        handed_in = state is not None and state.sha is not None
        words = state.sentence if state is not None else "nothing handed in"
        earned = Fraction(0) if score is None else earned_of(score)
        found = Homework(earned, most, late=late, words=words, given=score is not None)
        return replace(found, stage="handed in") if handed_in else found
    waits = [name for name, cell in score.cells.items() if cell.needs_manual]
    waiting = sum((exact(cells.get(name, 0.0)) - exact(score.cells[name].points) for name in waits), Fraction(0))
    words = state.sentence if state.rejected is not None else "waits for a human" if waits else "graded"
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
