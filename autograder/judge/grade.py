"""Grading one submission: a pure function of picklable arguments, and the whole path of a submission in one place."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from autograder.errors import Infrastructure, StudentFault
from autograder.homework.assignment import Assignment
from autograder.homework.restore import Restored, restore
from autograder.judge.basis import Basis
from autograder.judge.clock import sandbox_limits
from autograder.judge.control import settled
from autograder.judge.handing import Handed, handed_in_grading
from autograder.judge.job import Job, assignment_of
from autograder.judge.kept import Kept
from autograder.judge.keys import Keys
from autograder.judge.messages import sources_of
from autograder.judge.providers import provider_of
from autograder.judge.runner import Bench, CheckFile, run_checks
from autograder.judge.scoring import complete, score
from autograder.judge.session import Session
from autograder.report import CellRun, CheckResult, Environment, Report
from autograder.sandbox.tags import tag_of
from autograder.version import VERSION

WALL_TIME = (
    "Time limits counted the time on the clock: this machine does not tell how long your code was ready to run and had"
    " to wait for others."
)


def grade(job: Job) -> Report:
    """Run one submission in a sandbox, check it, and return its report.

    Raises:
        UserError: the assignment is broken. Whatever the submission does, a report is returned.
    """
    kept = Kept(job.spool)
    report = grade_repeatedly(job, [job.submission.sha256], kept=kept)[0]
    kept.done()
    return report


def grade_repeatedly(
    job: Job,
    seeds: Sequence[int | str],
    narrow: Mapping[int | str, frozenset[str]] = MappingProxyType({}),
    kept: Kept | None = None,
) -> list[Report]:
    """Run the notebook once and its checks once per seed: what an audit asks.

    The path of a submission: assignment → restored notebook → sandbox → checks → points → report.

    Args:
        seeds: numbers of an audit, or the submission's own hash.
        narrow: for some seeds, the cells that alone are checked; their reports hold no other cell.
        kept: of a single seed, what an earlier judge found.
    """
    begin = _Moment.now()
    assignment = assignment_of(job.homework)
    submission = job.submission.read()
    restored = restore(submission.notebook, assignment.template)
    handed = handed_in_grading(assignment, keys_of(job, seeds[0]))  # the same for all of a student's seeds
    ran: list[tuple[Bench, list[CheckResult], dict[str, float]]] = []
    run = kept is None or not kept.stopped
    skip, stay = _what_stays(job, assignment)
    played = Played(restored, submission.files, keys_of(job, seeds[0]).notebook, handed, run)
    with _played(job, assignment, played) as session:
        ready = time.monotonic()
        for seed in seeds:
            session.clock.begin_checks()
            only = narrow.get(seed)
            keys, sources, who = keys_of(job, seed), sources_of(restored.cells, submission.files), submission.student
            watch = kept or Kept(None)
            bench = Bench(
                session, keys, sources, training(assignment), only, skip=skip, handed=handed, who=who, kept=watch,
                data=assignment.config.data, datasets=assignment.datasets,
            )  # fmt: skip
            mark = time.monotonic()
            results = complete(assignment, [*stay, *run_checks(check_files(assignment), bench)], only)
            timings = begin.timings(session, ready, time.monotonic() - mark, results)
            ran.append((bench, results, timings))
    reports = []
    for bench, results, timings in ran:
        if job.control:
            results = settled(assignment, check_files(assignment), results, bench, session)
        reports.append(_report(job, assignment, restored, session, bench, results, begin.started, timings))
    return reports


def _what_stays(job: Job, assignment: Assignment) -> tuple[frozenset[str], list[CheckResult]]:
    """Checks that are not run, and the outcomes they had."""
    if job.again is None:
        return frozenset(), []
    skip = frozenset(check.name for check in assignment.checks) - job.again.stale
    before = Report.load(job.again.report)
    return skip, [result for result in before.checks if result.id.partition("[")[0] in skip]


@dataclass(frozen=True)
class Played:
    """What a sandbox is given to run."""

    restored: Restored
    files: Mapping[str, bytes]
    seed: int
    handed: Handed
    run: bool  # False: judges died of it twice


@contextmanager
def _played(job: Job, assignment: Assignment, play: Played) -> Iterator[Session]:
    """A session whose notebook has run; the next job's sandbox starts meanwhile."""
    budgets = assignment.config.budgets
    packages = assignment.config.packages if job.sandbox == "docker" else []
    image = job.image or (tag_of(packages) if packages else None)
    datasets = tuple(assignment.datasets.items())
    provider = provider_of(job.sandbox, sandbox_limits(budgets), job.gpu, image, datasets)
    device = "cpu" if job.gpu is None else "cuda"
    files = {**play.files, **assignment.modules()}
    tensors = play.handed.tensors()
    session = Session(provider, play.restored.cells, files, budgets, play.seed, device, job.last, tensors)
    try:
        with suppress(StudentFault, Infrastructure):  # every check meets the same trouble and reports it
            if play.run:
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
            "charged": session.clock.whole.used,
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
    said, basis = session.said.anew(), job.basis
    environment = Environment(
        sandbox=job.sandbox,
        image=session.provider.image,
        device=session.device,
        settled=session.settled,
        clock="wall" if session.clock.wall_time else "charged",
        versions=session.versions | {"autograder": VERSION},
        profile=job.homework.profile,
        limits=session.provider.limits.as_dict() | session.budgets.seconds(),
        seed=bench.keys.number,
    )
    return Report(
        assignment=assignment.name,
        student=job.submission.student,
        submission_sha256=job.submission.sha256,
        basis="" if basis is None else basis.whole,
        data=dict(assignment.config.data),
        environment=environment,
        checks=[said.check(result) if basis is None else _based(said.check(result), basis) for result in results],
        cells=[cell for cell in score(assignment, results) if bench.only is None or cell.cell in bench.only],
        runs=_runs(session),
        notes=said.notes([*job.submission.notes, *restored.notes, *([WALL_TIME] if session.clock.wall_time else [])]),
        started=started,
        timings=timings,
    )


def _based(result: CheckResult, basis: Basis) -> CheckResult:
    return result.model_copy(update={"basis": basis.of(result.id.partition("[")[0])})


def _runs(session: Session) -> list[CellRun]:
    """What happened to each cell, with the task it belongs to."""
    ends = [position for position, cell in enumerate(session.cells) if cell["grade_id"] is not None]
    runs = []
    for position, run in sorted(session.runs.items()):
        end = next((end for end in ends if end >= position), None)
        runs.append(run if end is None else run.model_copy(update={"task": session.cells[end]["grade_id"]}))
    return runs


def check_files(assignment: Assignment) -> list[CheckFile]:
    """Public checks first, as the student knows them, then the hidden ones."""
    hidden = [CheckFile(path, public=False) for path in assignment.hidden_checks]
    return [CheckFile(assignment.public_checks, public=True), *hidden]


def training(assignment: Assignment) -> dict[str, dict[str, str]]:
    """The training section as the `student` fixture takes it."""
    return {task: section.model_dump() for task, section in assignment.config.training.items()}


def keys_of(job: Job, seed: int | str) -> Keys:
    """The keys of a run: the same for the same submission, unknown to its author."""
    return Keys.of(job.salt, job.homework.name, job.submission.student, seed, job.round, job.law)
