"""Whose fault it is that a check broke: the same check under the same seed is run on the solution.

If it runs through there, the submission gave it what it was never promised, and pays. If it breaks there too, or fails,
its author pays. The solution is played only when a check has broken, in a sandbox of its own after the submission's;
what it showed is remembered by the hash of the checks. Where an audit of these very checks was clean, nothing is run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from autograder.errors import Infrastructure, StudentFault, UserError
from autograder.homework.assignment import Assignment
from autograder.homework.restore import restore
from autograder.judge.kept import Kept
from autograder.judge.model_answers import read_solution
from autograder.judge.runner import AUTHOR, Bench, CheckFile, run_checks
from autograder.judge.session import Session
from autograder.report import CheckResult, write_atomically

AUDITED = ".audited"  # beside the solution: the digest of what a clean audit saw
Question = tuple[str, bytes, bytes, str]  # digest, the keys of the run, the check
_runs_through: dict[Question, bool] = {}


def settled(
    assignment: Assignment, files: Sequence[CheckFile], results: Sequence[CheckResult], bench: Bench, session: Session
) -> list[CheckResult]:
    """The results, with the points of checks that broke by themselves given to nobody.

    Args:
        bench: that gave the results.
        session: of the submission, ended; the solution is played as it was.
    """
    doubted = [result for result in results if result.stumbled and result.outcome == "failed"]
    if not doubted or not assignment.files.has_solution or is_audited(assignment):
        return list(results)
    digest = digest_of(assignment)

    def question(check: str) -> Question:
        return digest, bench.keys.task, bench.keys.run, check

    unknown = [result for result in doubted if question(result.id) not in _runs_through]
    if unknown:
        found = {result.id: result for result in _on_solution(assignment, files, unknown, bench, session)}
        for result in unknown:
            _runs_through[question(result.id)] = result.id in found and found[result.id].outcome in (
                "passed",
                "partial",
            )
    broken = {result.id for result in doubted if not _runs_through[question(result.id)]}
    return [_authors(result) if result.id in broken else result for result in results]


def _on_solution(
    assignment: Assignment, files: Sequence[CheckFile], doubted: Iterable[CheckResult], bench: Bench, session: Session
) -> list[CheckResult]:
    """What the doubted checks say of the solution."""
    names = {result.id.partition("[")[0] for result in doubted}
    others = frozenset(check.name for check in assignment.checks if check.name not in names)
    cells = restore(read_solution(assignment.files.solution), assignment.template).cells
    control = Session(session.provider, cells, {}, session.budgets, session.seed, session.device, handed=session.handed)
    try:
        with suppress(StudentFault, Infrastructure):  # the checks meet the same trouble and say so
            control.play()
        return run_checks(files, replace(bench, channel=control, sources={}, skip=bench.skip | others, kept=Kept(None)))
    finally:
        control.close()


def _authors(result: CheckResult) -> CheckResult:
    known = {
        "outcome": "infrastructure",
        "reason": None,
        "fraction": 0.0,
        "message": AUTHOR,
        "where": None,
        "hint": None,
    }
    return result.model_copy(update=known)


def is_audited(assignment: Assignment) -> bool:
    """True if an audit of exactly these checks on exactly this solution was clean."""
    try:
        return _record(assignment).read_text(encoding="utf-8").strip() == digest_of(assignment)
    except (OSError, UnicodeDecodeError, UserError):
        return False


def note_audited(assignment: Assignment) -> None:
    """Remember that an audit was clean; where solutions can not be written to, nothing is remembered."""
    with suppress(OSError):
        write_atomically(_record(assignment), digest_of(assignment) + "\n")


def digest_of(assignment: Assignment) -> str:
    """One hash over the checks and the solution."""
    return hashlib.sha256(assignment.checks_sha256.encode() + assignment.files.solution.read_bytes()).hexdigest()


def _record(assignment: Assignment) -> Path:
    return assignment.files.solution.with_name(AUDITED)
