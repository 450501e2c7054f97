"""Grading a class into its course folder: submissions in; reports, gradebook, pages and scores out.

A report on disk is the sign that its submission is done. Everything after it (gradebook, page) is written again from
the report whenever the class is graded, so a grader killed at any moment and started again ends where an undisturbed
one does.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from autograder.course.autograded import record
from autograder.course.collect import Rejected, Submission, collect, store
from autograder.course.course import FILE, Course
from autograder.course.gradebook import Book
from autograder.course.scores import write_scores
from autograder.errors import UserError
from autograder.feedback import page_name, write_class_page, write_student_page
from autograder.homework.assignment import Assignment, load_assignment
from autograder.judge.classroom import Trouble, run_jobs
from autograder.judge.grade import Job, grade
from autograder.report import Report
from autograder.sandbox import SandboxKind, choose, image, sweep


@dataclass(frozen=True)
class Options:
    """How to grade; what is None comes from course.yaml."""

    sandbox: Literal["auto", "docker", "process"] | None = None
    jobs: int | None = None
    gpu: str | None = None
    image: str | None = None
    force: bool = False
    students: frozenset[str] = frozenset()  # only these; empty: all


@dataclass
class Batch:
    """What grading a class gave."""

    assignment: Assignment
    sandbox: SandboxKind
    image: str | None  # digest of the image
    reports: list[Report] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)  # student or path -> sentence
    reused: int = 0

    @property
    def infrastructure(self) -> list[Report]:
        """Reports that are not final; grading again queues them."""
        return [report for report in self.reports if report.infrastructure]


@dataclass(frozen=True)
class Progress:
    """Told as grading goes on; each gets the student's name."""

    total: Callable[[int], None] = lambda count: None
    started: Callable[[str], None] = lambda student: None
    done: Callable[[str, Report | Trouble], None] = lambda student, result: None


def grade_course(
    course: Course, name: str, source: Path | None = None, options: Options = Options(), progress: Progress = Progress()
) -> Batch:
    """Grade one homework of a class.

    Args:
        source: what was handed in, stored under `submitted/` first; None grades what is there.

    Raises:
        UserError: the assignment is broken, there is nothing to grade, no engine, a locked gradebook.
    """
    with alone(course):
        _remove_halves(course, name)
        return _grade_course(course, name, source, options, progress)


def _grade_course(course: Course, name: str, source: Path | None, options: Options, progress: Progress) -> Batch:
    assignment = load_assignment(name, course.assignments_dir, course.solutions_dir)
    kind = choose(options.sandbox or course.config.sandbox.kind)
    tag = options.image or course.config.sandbox.image or image.TAG
    batch = Batch(assignment, kind, image.digest(tag) if kind == "docker" else None)
    notes: dict[str, tuple[str, ...]] = {}
    if source is not None:
        batch.rejected, notes = collect_into(course, assignment, source)
    nothing = UserError(f"there is no submission of {name} under {course.submitted_dir}; collect or name them first.")
    if not course.submitted_dir.is_dir() and not batch.rejected:
        raise nothing
    course.submitted_dir.mkdir(exist_ok=True)
    items = collect(course.submitted_dir, assignment, course.roster, course.config.due.get(name))
    batch.rejected |= {item.student or item.path: item.sentence for item in items if isinstance(item, Rejected)}
    submissions = {
        item.student: replace(item, notes=(*notes.get(item.student, ()), *item.notes))
        for item in items
        if isinstance(item, Submission)
    }
    if options.students:
        unknown = options.students - submissions.keys()
        if unknown:
            raise UserError(f"nothing of {', '.join(sorted(unknown))} lies under {course.submitted_dir}.")
        submissions = {student: submissions[student] for student in sorted(options.students)}
    if not submissions and not batch.rejected:
        raise nothing
    try:
        with Book(course.gradebook_url) as book:
            book.ensure_assignment(assignment)
            _grade_all(course, batch, submissions, options, progress, book)
    finally:
        sweep()
    everybody = _with_others(course, batch) if options.students else batch.reports
    write_class_page(everybody, batch.rejected, assignment.title, course.feedback_dir(name) / "class.html")
    done = {report.student for report in batch.reports}
    statuses = {who: f"not graded: {sentence}" for who, sentence in batch.rejected.items() if who not in done}
    write_scores(course, graded_assignments(course), statuses)
    return batch


def graded_assignments(course: Course) -> list[Assignment]:
    """Every homework of which something was graded. Raises UserError if one of them is broken."""
    names = sorted(path.name for path in course.root.glob("reports/*") if path.is_dir())
    return [load_assignment(name, course.assignments_dir, course.solutions_dir) for name in names]


@contextmanager
def alone(course: Course) -> Iterator[None]:
    """One grader at a time in a course folder; the system lets go of the lock however this one ends."""
    with (course.root / FILE).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another grader is at work in {course.root}; wait for it, or stop it.") from None
        yield


def _remove_halves(course: Course, name: str) -> None:
    """Remove what a killed grader had begun to write; nobody else is writing now."""
    for old in course.submitted_dir.glob(f"*/.{name}-old-*"):
        target = old.with_name(name)
        if not target.exists() and any(old.iterdir()):  # it was killed between two renames
            old.replace(target)
    begun = [*course.submitted_dir.glob(f"*/.{name}-*"), *course.autograded_dir.glob(f"*/{name}/.{name}.ipynb.*")]
    begun += [*course.report_path(name, "x").parent.glob(".*.json.*"), *course.feedback_dir(name).glob(".*.html.*")]
    for whole in (course.scores_path.name, Path(course.gradebook_url).name):
        begun += course.root.glob(f".{whole}.*")
    for path in begun:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _with_others(course: Course, batch: Batch) -> list[Report]:
    """The reports of this batch, and those on disk of everybody else."""
    ours = {report.student: report for report in batch.reports}
    for path in course.report_path(batch.assignment.name, "x").parent.glob("*.json"):
        with suppress(OSError, ValidationError):
            report = Report.load(path)
            ours.setdefault(report.student, report)
    return [ours[student] for student in sorted(ours)]


def collect_into(
    course: Course, assignment: Assignment, source: Path
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Store what was handed in under `submitted/`; returns who was rejected and why, and notes for the others."""
    rejected, notes = {}, {}
    for item in collect(source, assignment, course.roster, course.config.due.get(assignment.name)):
        if isinstance(item, Rejected):
            rejected[item.student or item.path] = item.sentence
        else:
            store(item, assignment, course.submitted_dir)
            notes[item.student] = item.notes
    return rejected, notes


def _grade_all(
    course: Course,
    batch: Batch,
    submissions: dict[str, Submission],
    options: Options,
    progress: Progress,
    book: Book,
) -> None:
    settings = course.config.sandbox
    name = batch.assignment.name
    jobs: list[Job] = []
    for student, submission in submissions.items():
        old = None if options.force else _final_report(course.report_path(name, student))
        if old is not None and unchanged(old, submission, batch):
            batch.reused += 1
            _settle(course, batch, old, submission, book)
            continue
        job = Job(
            assignment=name,
            assignments=course.assignments_dir.resolve(),
            solutions=course.solutions_dir.resolve(),
            submission=submission,
            sandbox=batch.sandbox,
            salt=course.config.salt,
            gpu=options.gpu or settings.gpu,
            image=options.image or settings.image,
        )
        jobs.append(job)
    progress.total(len(jobs))
    workers = options.jobs or settings.jobs or len(os.sched_getaffinity(0))
    with closing(run_jobs(jobs, workers, grade, progress.started)) as results:
        for job, result in results:
            student = job.submission.student
            if isinstance(result, Trouble):
                batch.rejected[student] = result.sentence
            else:
                result.save(course.report_path(name, student))
                _settle(course, batch, result, job.submission, book)
            progress.done(student, result)


def _settle(course: Course, batch: Batch, report: Report, submission: Submission, book: Book) -> None:
    """Gradebook, a notebook for humans, and the student's page, of one report."""
    batch.reports.append(report)
    record(book, course, batch.assignment, report, submission)
    page = course.feedback_dir(report.assignment) / page_name(report.student)
    write_student_page(report, batch.assignment.title, page)


def _final_report(path: Path) -> Report | None:
    try:
        report = Report.load(path)
    except (OSError, ValidationError):
        return None
    return None if report.infrastructure else report


def unchanged(report: Report, submission: Submission, batch: Batch) -> bool:
    """True if grading again would only repeat the report."""
    return (
        report.submission_sha256 == submission.sha256
        and report.checks_sha256 == batch.assignment.checks_sha256
        and (report.environment.sandbox, report.environment.image) == (batch.sandbox, batch.image)
    )


def load_reports(course: Course, name: str, students: Sequence[str] = ()) -> list[Report]:
    """Reports of a homework, sorted by student. Raises UserError if one is asked for that is not there."""
    folder = course.report_path(name, "x").parent
    paths = [course.report_path(name, s) for s in students] if students else sorted(folder.glob("*.json"))
    reports = []
    for path in paths:
        try:
            reports.append(Report.load(path))
        except OSError:
            raise UserError(f"there is no report {path}; grade the submission first.") from None
        except ValidationError:
            raise UserError(f"{path} is not a report of this version; grade the submission again.") from None
    return reports
