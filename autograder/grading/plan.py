"""What is to be done with each submission of a class, and why: read from the record, without opening a notebook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from autograder.course.course import Course
from autograder.errors import UserError
from autograder.feedback import Remarks
from autograder.grading.places import stored
from autograder.grading.stale import seconds_of, stale_checks
from autograder.grading.walls import CHANGED, is_stronger
from autograder.homework.assignment import Assignment
from autograder.judge.basis import Basis
from autograder.judge.job import Again
from autograder.records.gradebook import StudentScore
from autograder.records.record import Record, proposed
from autograder.records.rendering import up_to_date
from autograder.records.reports import final_report
from autograder.records.standing import remarks_of_class
from autograder.records.state import State, stat_of
from autograder.sandbox import SandboxKind
from autograder.submission import Stored, Submission

STALE = "stale"
SHOWN = 4  # checks that are named


@dataclass(frozen=True)
class Task:
    """One submission to grade."""

    state: State
    submission: Stored | Submission
    why: str
    seconds: float = 0.0  # it took, or what of it is done again
    again: Again | None = None  # only these checks


@dataclass
class Plan:
    """What grading a class comes to."""

    grade: list[Task] = field(default_factory=list)
    render: list[Task] = field(default_factory=list)  # graded, but page or notebook is missing or of another content
    lacking: list[State] = field(default_factory=list)  # all is made, but the gradebook has other marks, or none
    took: list[float] = field(default_factory=list)  # seconds that grading took, of each of which all is made
    reused: int = 0
    kept: list[str] = field(default_factory=list)  # students whose report was made behind stronger walls and stays


@dataclass(frozen=True)
class Terms:
    """Under what a class is graded: marks that were made under others are stale."""

    assignment: Assignment
    sandbox: SandboxKind
    basis: Basis
    force: bool = False
    students: frozenset[str] = frozenset()  # only these; empty: all


@dataclass(frozen=True)
class _Class:
    """What is known of a class before it is graded."""

    course: Course
    record: Record
    terms: Terms
    packed: Mapping[str, Submission]
    entered: Mapping[str, StudentScore]
    remarks: Callable[[State], Remarks]

    def task(self, state: State, why: str = "") -> Task:
        """Grading one submission."""
        return Task(state, self.packed.get(state.who) or stored(self.course, state), why, state.seconds)


def plan_of(
    course: Course,
    record: Record,
    terms: Terms,
    packed: Mapping[str, Submission],
    entered: Mapping[str, StudentScore] = MappingProxyType({}),
) -> Plan:
    """What there is to do.

    Args:
        packed: by student, what cannot be read where it is graded.
        entered: by student, what stands in the gradebook.

    Raises:
        UserError: there is nothing at all, or nothing of a student who was named.
    """
    plan, name = Plan(), terms.assignment.name
    nothing = UserError(f"there is no submission of {name} under {course.submitted_dir}; collect or name them first.")
    handed_in = record.handed_in()
    if not handed_in and next(record.states("rejected"), None) is None:
        raise nothing
    unknown = terms.students - handed_in
    if unknown:
        raise UserError(f"nothing of {', '.join(sorted(unknown))} lies under {course.submitted_dir}.")
    known = _Class(course, record, terms, packed, entered, remarks_of_class(course, record))
    for state in record.states():
        if state.who in (terms.students or handed_in):
            _place(known, plan, _seen(course, record, name, state))
    return plan


def _place(known: _Class, plan: Plan, state: State) -> None:
    terms, why = known.terms, _why(state, known.terms)
    stronger = state.report is not None and state.final and is_stronger(state.sandbox, terms.sandbox)
    same = state.graded == state.sha
    if stronger and same:
        plan.kept.append(state.who)
    elif stronger and not terms.force:
        known.record.rejected(state.who, CHANGED, "grading")
    elif why:
        task = known.task(state, why)
        plan.grade.append(_what_is_stale(known.course, terms, task) if why == STALE else task)
        return
    else:
        plan.reused += 1
    if not same:
        return
    if not up_to_date(known.course, terms.assignment, state, known.remarks(state)):
        plan.render.append(known.task(state))
        return
    plan.took.append(state.seconds)
    if not state.infrastructure and not _is_entered(state, known.entered.get(state.who)):
        plan.lacking.append(state)


def _is_entered(state: State, score: StudentScore | None) -> bool:
    """True if the gradebook has the marks of the report that is there."""
    wanted = state.marks | {cell: None if given else 0.0 for cell, given in state.answered.items()}
    return score is not None and {name: cell.automatic for name, cell in score.cells.items()} == wanted


def _what_is_stale(course: Course, terms: Terms, task: Task) -> Task:
    """Grading what is stale of a submission, and why; all of it where the report does not say what that is."""
    name, who = terms.assignment.name, task.state.who
    path = course.proposed_path(name, who) if task.state.proposed is not None else course.report_path(name, who)
    report = final_report(path, final=False)
    stale = {} if report is None else stale_checks(course, terms.assignment, report, terms.basis)
    if report is None or not stale:
        return replace(task, why="what its marks stand on has changed", seconds=task.state.seconds)
    reasons: dict[str, list[str]] = {}
    for check, why in stale.items():
        reasons.setdefault(why, []).append(check)
    said = "; ".join(f"{_listed(checks)}: {why}" for why, checks in reasons.items())
    checks = frozenset(stale)
    return replace(task, why=said, seconds=seconds_of(report, checks), again=Again(path.resolve(), checks))


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= SHOWN else f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN} more"


def _why(state: State, terms: Terms) -> str:
    """Why a submission is graded; "" if grading would only repeat what is there."""
    if state.report is None:
        return "not graded yet"
    if state.graded != state.sha:
        return "handed in again"
    if not state.final:
        return "the machine failed"
    if state.basis not in ("", terms.basis.whole):  # "": of a report that does not say it
        return STALE
    return "named to be graded again" if terms.force else ""


def _seen(course: Course, record: Record, name: str, state: State) -> State:
    """A state, brought up to what lies in the place of its report."""
    path = course.report_path(name, state.who)
    if state.origin == "grading":
        record.accepted(state.who, "grading")
    if stat_of(path) != state.stat:
        report = final_report(path, final=False)
        if report is not None and report.student == state.who:
            newer = proposed(path, report)
            record.settled(report, path, content="", **newer)
            if newer["proposed"] is None:  # a killed grader may have published it already
                course.proposed_path(name, state.who).unlink(missing_ok=True)
        else:
            record.forget_report(state.who)
    elif state.origin != "grading":
        return state
    return record.get(state.who) or state


def usual_seconds(plan: Plan) -> float:
    """What a submission takes of one core that was never graded: what others took."""
    known = sorted(s for s in (*(t.state.seconds for t in plan.grade), *plan.took) if s)
    return known[len(known) // 2] if known else 0.0


def core_seconds(plan: Plan) -> float:
    """What grading will take of one core, as far as earlier gradings tell."""
    usual = usual_seconds(plan)
    return sum(task.seconds or usual for task in plan.grade)
