"""Which checks of a report are stale, and why: what they stood on has changed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from autograder.course.course import Course
from autograder.homework.assignment import Assignment
from autograder.judge.basis import Basis, Trace, worked_out
from autograder.records.record import Record
from autograder.report import CheckResult, Report, write_atomically


def basis_now(record: Record, assignment: Assignment, where: Mapping[str, str]) -> Basis:
    """What marks stand on now; worked out once, until something of it changes."""
    known = record.traced()
    if known is not None:
        trace, basis = known
        if Trace.of(trace).holds(assignment, where):
            return Basis.read(basis)
    found, made = worked_out(assignment, where)
    record.put_traced(made.text(), found.text())
    return found


def note(course: Course, name: str, basis: Basis) -> None:
    """Keep what marks stand on, so that it can be said later what has changed since."""
    path = _path(course, name, basis.whole)
    if not path.is_file():
        write_atomically(path, basis.text())


def stale_checks(course: Course, assignment: Assignment, report: Report, basis: Basis) -> dict[str, str]:
    """Check -> why it is stale. What the machine failed in is run again as well.

    A check that is gone takes those of its cell along, which carry its points now.
    """
    before: dict[str, list[CheckResult]] = {}
    for result in report.checks:
        before.setdefault(_function(result), []).append(result)
    gone = {result.cell for name, results in before.items() if name not in basis.checks for result in results}
    then = _read(_path(course, assignment.name, report.basis))
    found: dict[str, str] = {}
    for check in assignment.checks:
        results = before.get(check.name, [])
        if not results or any(result.basis != basis.of(check.name) for result in results):
            found[check.name] = basis.why(check.name, then)
        elif check.cell in gone:
            found[check.name] = "a check of its cell is gone"
        elif any(result.outcome == "infrastructure" for result in results):
            found[check.name] = "the machine failed"
    return found


def seconds_of(report: Report, checks: frozenset[str]) -> float:
    """What running these checks again will take, the notebook included."""
    mine = sum(result.seconds for result in report.checks if _function(result) in checks)
    return report.timings.get("notebook", 0.0) + mine


def _function(result: CheckResult) -> str:
    return result.id.partition("[")[0]


def _path(course: Course, name: str, whole: str) -> Path:
    return course.reports_dir(name) / "bases" / f"{whole}.json"


@cache
def _read(path: Path) -> Basis | None:
    try:
        return Basis.read(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
