"""`submission: best`: of several hand-ins of a student the one counts that has the most points after the late rule.

Each is graded, and the best one put where what counts lies: its files under `submitted/`, its report under `reports/`.
Everything else follows from there, as if nothing else had been handed in. Of equals the last one counts. Once it was
graded, a hand-in is graded again when what counts is: where checks have changed, and the new marks are published.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from autograder.course.course import Course
from autograder.course.grades import IN_TIME
from autograder.course.late import HandIn, lateness
from autograder.feedback import Remarks, text
from autograder.grading.places import stored
from autograder.grading.plan import Terms
from autograder.grading.walls import STRENGTH, is_stronger
from autograder.records.attempts import Attempt, attempts_of, keep, students_with_several
from autograder.records.record import Record
from autograder.records.reports import final_report
from autograder.records.standing import remarks_of
from autograder.records.state import State
from autograder.records.ways import write_way
from autograder.report import Report, exact, write_atomically
from autograder.submission import Submission
from autograder.submissions.storing import store

WAY = ("came", "source", "notes", "handed", "matched", "exported", "clock", "marked_late")


@dataclass(frozen=True)
class Several:
    """All that a student handed in, and where what counts stands."""

    state: State
    attempts: list[Attempt]
    counts: Report | None  # the report that lies in the course folder

    def report(self, attempt: Attempt) -> Report | None:
        """What came of one of them: of the one that counts what is published."""
        if self.counts is not None and self.counts.submission_sha256 == attempt.sha256:
            return self.counts
        return attempt.report


def all_of(course: Course, record: Record, terms: Terms, packed: Mapping[str, Submission]) -> list[Several]:
    """Whoever handed in more than once; what counts now is kept beside the others."""
    name, found = terms.assignment.name, []
    for student in students_with_several(course, name):
        state = record.get(student)
        there = packed.get(student) or (None if state is None or state.files is None else stored(course, state))
        if state is None or there is None or student not in (terms.students or {student}):
            continue
        if state.sha not in {attempt.sha256 for attempt in attempts_of(course, name, student)}:
            keep(course, terms.assignment, there.read(), {key: getattr(state, key) for key in WAY})
        attempts, counts = attempts_of(course, name, student), final_report(course.report_path(name, student))
        if len(attempts) > 1:
            found.append(Several(state, attempts, counts))
    return found


def to_grade(everybody: Iterable[Several], terms: Terms, *, publish: bool, only_again: bool) -> list[Attempt]:
    """Hand-ins that have no report, or one that is stale when what counts is graded again as well."""
    found = []
    for several in everybody:
        for attempt in several.attempts:
            report = several.report(attempt)
            if report is None:
                wanted = not only_again
            elif report is several.counts or is_stronger(report.environment.sandbox, terms.sandbox):
                wanted = False  # grading the class sees to it
            else:
                wanted = terms.force or (publish and report.basis not in ("", terms.basis.whole))
            found += [attempt] if wanted else []
    return found


def choose(course: Course, record: Record, terms: Terms, several: Several) -> bool:
    """Put the best of what a student handed in where what counts lies, and note why; True if it was another one.

    Killed at any moment and called again it ends alike: the files come first, and until the report is there the
    hand-in that lies under `submitted/` is one that was not graded.
    """
    name, state = terms.assignment.name, several.state
    reports = {one.sha256: report for one in several.attempts if (report := several.report(one)) is not None}
    if not reports:
        return False
    walls = max((report.environment.sandbox for report in reports.values()), key=STRENGTH.__getitem__)
    behind = {sha for sha, report in reports.items() if report.environment.sandbox == walls}
    fit = [one for one in several.attempts if one.sha256 in behind]
    remarks = remarks_of(course, record, state.who)
    worth = {one.sha256: _worth(course, record, one, reports[one.sha256], remarks) for one in fit}
    best = max(reversed(fit), key=lambda one: worth[one.sha256])  # the first of equals is the last handed in
    moves = (state.sha, several.counts) != (best.sha256, reports[best.sha256])
    if moves:
        for one in several.attempts:
            if several.counts is not None and several.counts.submission_sha256 == one.sha256:
                one.put_report(several.counts)
        course.proposed_path(name, state.who).unlink(missing_ok=True)
        store(best.stored(course).read(), terms.assignment, course.submitted_dir)
        write_way(course, name, state.who, best.way)
        write_atomically(course.report_path(name, state.who), reports[best.sha256].text)
        record.change(state.who, proposed=None, **{**best.way, "notes": tuple(best.way["notes"])})
    said = _said(several.attempts, best, reports)
    if said != state.several:
        record.change(state.who, several=said)
    return moves


def _worth(course: Course, record: Record, attempt: Attempt, report: Report, remarks: Remarks) -> Fraction:
    """Points after the late rule; what people gave counts with each hand-in alike."""
    who, name = attempt.student, record.homework
    handed_in = dict(record.hand_ins(who)).get(who, {}) | {name: HandIn(attempt.when, attempt.late)}
    late = lateness(course.config.late, course.config.due, course.extensions.get(who, {}), handed_in)
    points = [remarks.points(cell.cell) for cell in report.cells]
    earned = sum(
        (exact(cell.earned or 0 if given is None else given) for cell, given in zip(report.cells, points, strict=True)),
        Fraction(0),
    )
    return earned - late.get(name, IN_TIME).cost(earned)


def _said(attempts: list[Attempt], best: Attempt, reports: Mapping[str, Report]) -> str:
    """Which one counts, for the student and the staff."""
    named = [
        f"`{one.path}`{f' ({text.moment(one.submitted)})' if one.submitted else ''}"
        f"{'' if one.sha256 in reports else ' (not graded yet)'}"
        for one in attempts
    ]
    return (
        f"{len(attempts)} submissions were handed in: {', '.join(named)}. The one with the most points counts, after "
        f"what being late costs: `{best.path}`."
    )
