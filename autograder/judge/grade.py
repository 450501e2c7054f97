"""Grading one submission: a pure function of picklable arguments, and the whole path of a submission in one place."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from types import MappingProxyType

from autograder.errors import Infrastructure, StudentFault
from autograder.homework.assignment import Assignment, load_assignment
from autograder.homework.files import HomeworkFiles
from autograder.homework.restore import Restored, restore
from autograder.judge.kept import Kept
from autograder.judge.providers import provider_of
from autograder.judge.runner import Bench, CheckFile, run_checks
from autograder.judge.scoring import complete, score
from autograder.judge.session import Session
from autograder.report import CheckResult, Environment, Report
from autograder.sandbox import Limits, SandboxKind
from autograder.submission import Submission
from autograder.version import VERSION


@dataclass(frozen=True)
class Job:
    """One submission to grade, and how.

    Args:
        sandbox: already resolved, never "auto": every submission of a class meets the same walls.
        salt: the course's own number; seeds derive from it so that no student can know them beforehand.
        more: another job follows on this process, so a sandbox may be warmed up for it.
        spool: see `judge.kept`.
    """

    homework: HomeworkFiles
    submission: Submission
    sandbox: SandboxKind
    salt: int = 0
    gpu: str | None = None
    image: str | None = None
    more: bool = False
    spool: str | None = None  # a file for what is found on the way, should this process die


def grade(job: Job) -> Report:
    """Run one submission in a sandbox, check it, and return its report.

    Raises:
        UserError: the assignment is broken. Whatever the submission does, a report is returned.
    """
    kept = Kept(job.spool)
    report = grade_repeatedly(job, [seed_of(job)], kept=kept)[0]
    kept.done()
    return report


def grade_repeatedly(
    job: Job,
    seeds: Sequence[int],
    narrow: Mapping[int, frozenset[str]] = MappingProxyType({}),
    kept: Kept | None = None,
) -> list[Report]:
    """Run the notebook once and its checks once per seed: what an audit asks.

    The path of a submission: assignment → restored notebook → sandbox → checks → points → report.

    Args:
        narrow: for some seeds, the cells that alone are checked; their reports hold no other cell.
        kept: of a single seed, what an earlier judge found.
    """
    begin = _Moment.now()
    assignment = _load(job.homework)
    restored = restore(job.submission.notebook, assignment.template)
    reports = []
    with _played(job, assignment, restored, seeds[0], run=kept is None or not kept.stopped) as session:
        ready = time.monotonic()
        for seed in seeds:
            only = narrow.get(seed)
            who = job.submission.student
            bench = Bench(session, seed, training(assignment), only, who=who, kept=kept or Kept(None))
            mark = time.monotonic()
            results = complete(assignment, run_checks(check_files(assignment), bench), only)
            timings = begin.timings(session, ready, time.monotonic() - mark, results)
            reports.append(_report(job, assignment, restored, session, bench, results, begin.started, timings))
    return reports


@contextmanager
def _played(job: Job, assignment: Assignment, restored: Restored, seed: int, run: bool) -> Iterator[Session]:
    """A session whose notebook has run; the next job's sandbox starts meanwhile."""
    budgets = assignment.config.budgets
    limits = Limits(memory_mb=budgets.memory_mb, wall_seconds=budgets.submission_seconds)
    provider = provider_of(job.sandbox, limits, job.gpu, job.image)
    device = "cpu" if job.gpu is None else "cuda"
    session = Session(provider, restored.cells, job.submission.files, budgets, seed, device)
    try:
        with suppress(StudentFault, Infrastructure):  # every check meets the same trouble and reports it
            if run:
                session.play()
        if job.more:
            provider.prestart()
        yield session
    finally:
        session.close()


@dataclass(frozen=True)
class _Moment:
    """When grading began, by both clocks."""

    monotonic: float
    started: str  # ISO 8601, UTC

    @classmethod
    def now(cls) -> _Moment:
        return cls(time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds"))

    def timings(
        self, session: Session, ready: float, checks: float, results: Sequence[CheckResult]
    ) -> dict[str, float]:
        """Seconds by stage, as the report has them."""
        return {
            "notebook": ready - session.opened,
            "checks": checks,
            "first_result": ready - self.monotonic + (results[0].seconds if results else 0.0),
            "total": ready - self.monotonic + checks,
        }


def _report(
    job: Job,
    assignment: Assignment,
    restored: Restored,
    session: Session,
    bench: Bench,
    results: list[CheckResult],
    started: str,
    timings: dict[str, float],
) -> Report:
    """Everything needed to repeat the run, beside what came out of it."""
    said = session.said.anew()
    environment = Environment(
        sandbox=job.sandbox,
        image=session.provider.image,
        device=session.device,
        versions=session.versions | {"autograder": VERSION},
        limits=session.provider.limits.as_dict() | session.budgets.seconds(),
        seed=bench.seed,
    )
    return Report(
        assignment=assignment.name,
        student=job.submission.student,
        submission_sha256=job.submission.sha256,
        checks_sha256=assignment.checks_sha256,
        environment=environment,
        checks=[said.check(result) for result in results],
        cells=[cell for cell in score(assignment, results) if bench.only is None or cell.cell in bench.only],
        runs=[session.runs[position] for position in sorted(session.runs)],
        notes=said.notes([*job.submission.notes, *restored.notes]),
        started=started,
        timings=timings,
    )


def check_files(assignment: Assignment) -> list[CheckFile]:
    """Public checks first, as the student knows them, then the hidden ones."""
    hidden = [CheckFile(path, public=False) for path in assignment.hidden_checks]
    return [CheckFile(assignment.public_checks, public=True), *hidden]


def training(assignment: Assignment) -> dict[str, dict[str, str]]:
    """The training section as the `student` fixture takes it."""
    return {task: section.model_dump() for task, section in assignment.config.training.items()}


def seed_of(job: Job) -> int:
    """The seed of a submission's run: the same for the same submission, unknown to its author."""
    return int.from_bytes(sha256(f"{job.salt}:{job.submission.sha256}".encode()).digest()[:6], "big")


@cache
def _load(files: HomeworkFiles) -> Assignment:
    return load_assignment(files)
