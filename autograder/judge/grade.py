"""Grading one submission: a pure function of picklable arguments, and the whole path of a submission in one place."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache
from hashlib import sha256
from multiprocessing.util import Finalize
from pathlib import Path
from types import MappingProxyType

import autograder
from autograder.course.collect import Submission
from autograder.errors import Infrastructure, StudentFault
from autograder.homework.assignment import Assignment, load_assignment
from autograder.homework.restore import restore
from autograder.judge.runner import Bench, CheckFile, run_checks
from autograder.judge.session import Budgets, Session
from autograder.report import CellResult, CheckResult, Environment, Report, exact
from autograder.sandbox import Limits, Provider, SandboxKind, open_provider

SHARE = Fraction(1, 10**6)  # of a point; what is lost when points are split over the parameters of a check


@dataclass(frozen=True)
class Job:
    """One submission to grade, and how.

    Args:
        sandbox: already resolved, never "auto": every submission of a class meets the same walls.
        salt: the course's own number; seeds derive from it so that no student can know them beforehand.
        more: another job follows on this process, so a sandbox may be warmed up for it.
    """

    assignment: str
    assignments: Path
    solutions: Path | None
    submission: Submission
    sandbox: SandboxKind
    salt: int = 0
    gpu: str | None = None
    image: str | None = None
    more: bool = False


def grade(job: Job) -> Report:
    """Run one submission in a sandbox, check it, and return its report.

    Raises:
        UserError: the assignment is broken. Whatever the submission does, a report is returned.
    """
    return grade_repeatedly(job, [seed_of(job)])[0]


def grade_repeatedly(
    job: Job, seeds: Sequence[int], narrow: Mapping[int, frozenset[str]] = MappingProxyType({})
) -> list[Report]:
    """Run the notebook once and its checks once per seed: what an audit asks.

    Args:
        narrow: for some seeds, the cells that alone are checked; their reports hold no other cell.
    """
    begin, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    assignment = _load(job.assignment, job.assignments, job.solutions)
    restored = restore(job.submission.notebook, assignment.template)
    budgets = assignment.config.budgets
    limits = Limits(memory_mb=budgets.memory_mb, wall_seconds=budgets.submission_seconds)
    provider = _provider(job.sandbox, limits, job.gpu, job.image)
    session = Session(
        provider=provider,
        cells=restored.cells,
        files=job.submission.files,
        budgets=Budgets(budgets.cell_seconds, budgets.check_seconds, budgets.train_seconds, budgets.submission_seconds),
        seed=seeds[0],
        device="cpu" if job.gpu is None else "cuda",
    )
    reports = []
    try:
        opened = time.monotonic()
        with suppress(StudentFault, Infrastructure):  # every check meets the same trouble and reports it
            session.play()
        ready = time.monotonic()
        if job.more:
            provider.prestart()
        for seed in seeds:
            mark = time.monotonic()
            only = narrow.get(seed)
            results = run_checks(
                check_files(assignment),
                Bench(session, seed, training(assignment), frozenset(job.submission.files), session.check, only=only),
            )
            results = complete(assignment, results, only)
            spent = time.monotonic() - mark
            reports.append(
                Report(
                    assignment=assignment.name,
                    student=job.submission.student,
                    submission_sha256=job.submission.sha256,
                    checks_sha256=assignment.checks_sha256,
                    environment=Environment(
                        sandbox=job.sandbox,
                        image=provider.image,
                        device=session.device,
                        versions=session.versions | {"autograder": autograder.__version__},
                        limits=provider.limits.as_dict() | vars(session.budgets),
                        seed=seed,
                    ),
                    checks=results,
                    cells=[cell for cell in score(assignment, results) if only is None or cell.cell in only],
                    runs=[session.runs[position] for position in sorted(session.runs)],
                    notes=[*job.submission.notes, *restored.notes],
                    started=started,
                    timings={
                        "notebook": ready - opened,
                        "checks": spent,
                        "first_result": ready - begin + (results[0].seconds if results else 0.0),
                        "total": ready - begin + spent,
                    },
                )
            )
    finally:
        session.close()
    return reports


def check_files(assignment: Assignment) -> list[CheckFile]:
    """Public checks first, as the student knows them, then the hidden ones."""
    hidden = [CheckFile(path, public=False) for path in assignment.hidden_checks]
    return [CheckFile(assignment.public_checks, public=True), *hidden]


def training(assignment: Assignment) -> dict[str, dict[str, str]]:
    """The training section as the `student` fixture takes it."""
    return {task: section.model_dump() for task, section in assignment.config.training.items()}


def complete(
    assignment: Assignment, results: Sequence[CheckResult], only: frozenset[str] | None = None
) -> list[CheckResult]:
    """Results in the order of the cells; a check that left no result is the machine's failure, never a pass."""
    order = list(assignment.cells)
    silent = []
    for check in assignment.checks:
        if only is not None and check.cell not in only:
            continue
        mine = [result for result in results if result.id == check.name or result.id.startswith(f"{check.name}[")]
        left = exact(check.points) - sum((exact(result.points) for result in mine), Fraction(0))
        if mine and left < SHARE:
            continue
        silent.append(
            CheckResult(
                id=check.name, cell=check.cell, title=check.title, public=check.public, points=float(left),
                fraction=0.0, outcome="infrastructure", message="the check left no result",
            )
        )  # fmt: skip
    return sorted([*results, *silent], key=lambda result: order.index(result.cell))


def score(assignment: Assignment, results: Sequence[CheckResult]) -> list[CellResult]:
    """Points per cell: exact sums of points times fractions, rounded half up to a hundredth, never above the cell's."""
    cells = []
    for name, cell in assignment.cells.items():
        mine = [result for result in results if result.cell == name]
        broken = any(result.outcome == "infrastructure" for result in mine)
        total = sum((exact(r.points) * Fraction(r.fraction).limit_denominator(1000) for r in mine), Fraction(0))
        earned: float | None = min(cell.points, float(Fraction(int(total * 100 + Fraction(1, 2)), 100)))
        if all(result.fraction == 1.0 for result in mine):
            earned = cell.points
        if cell.manual or broken or not mine:
            earned = None
        cells.append(CellResult(cell=name, title=cell.title, max_points=cell.points, manual=cell.manual, earned=earned))
    return cells


def seed_of(job: Job) -> int:
    """The seed of a submission's run: the same for the same submission, unknown to its author."""
    return int.from_bytes(sha256(f"{job.salt}:{job.submission.sha256}".encode()).digest()[:6], "big")


@cache
def _load(name: str, assignments: Path, solutions: Path | None) -> Assignment:
    return load_assignment(name, assignments, solutions)


@cache
def _provider(kind: SandboxKind, limits: Limits, gpu: str | None, image: str | None) -> Provider:
    """One provider per process, closed when the process ends."""
    provider = open_provider(kind, limits, gpu=gpu, image=image)
    _open_providers.append(provider)
    Finalize(None, close_providers, exitpriority=10)
    provider.prestart()
    return provider


_open_providers: list[Provider] = []


def close_providers() -> None:
    """End every sandbox of this process."""
    _provider.cache_clear()
    while _open_providers:
        _open_providers.pop().close()
