"""Grading a class into its course folder: submissions in; reports, gradebook, pages and scores out.

A report on disk is the sign that its submission is done. Everything after it (gradebook, page) is written again from
the report whenever the class is graded, so a grader killed at any moment and started again ends where an undisturbed
one does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from autograder.course.course import Course
from autograder.errors import UserError
from autograder.feedback import write_class_page
from autograder.grading.alone import alone, remove_halves
from autograder.grading.collecting import collect_into, stored
from autograder.grading.local import Trouble, run_jobs
from autograder.grading.reading import Reader
from autograder.grading.walls import CHANGED, is_of, is_stronger
from autograder.homework.assignment import Assignment, load_assignment
from autograder.judge.grade import Job
from autograder.records.formgrader import configure
from autograder.records.gradebook import Book
from autograder.records.rendering import grade_and_render, known_notebooks, render_again, up_to_date
from autograder.records.reports import final_report, graded_assignments, with_others
from autograder.records.scores import known_people, write_scores
from autograder.records.settle import settle, settle_unchanged
from autograder.records.state import MemoryRecord, StateRecord
from autograder.report import Report
from autograder.sandbox import SandboxKind, image, permitted, sweep
from autograder.submission import Submission
from autograder.submissions.collect import Look


@dataclass(frozen=True)
class Options:
    """How to grade; what is None comes from course.yaml."""

    sandbox: SandboxKind | None = None
    as_root: bool = False  # said a second time, by root who names the process sandbox
    jobs: int | None = None
    gpu: str | None = None
    image: str | None = None
    force: bool = False
    students: frozenset[str] = frozenset()  # only these; empty: all
    profile: str | None = None  # of assignment.yaml


@dataclass
class Batch:
    """What grading a class gave."""

    assignment: Assignment
    sandbox: SandboxKind
    image: str | None  # digest of the image
    record: StateRecord = field(default_factory=MemoryRecord)
    reused: int = 0
    kept: list[str] = field(default_factory=list)  # students whose report was made behind stronger walls and stays

    @property
    def reports(self) -> list[Report]:
        """One for each submission that was graded, now or before."""
        return [state.report for state in self.record.states() if state.report is not None]

    @property
    def rejected(self) -> dict[str, str]:
        """Student or path -> why something handed in was not graded, a sentence."""
        return {state.who: state.rejected for state in self.record.states() if state.rejected is not None}

    @property
    def infrastructure(self) -> list[Report]:
        """Reports with something in them that the machine failed to grade; grading again queues those not final."""
        return [report for report in self.reports if report.infrastructure]


@dataclass(frozen=True)
class Events:
    """Told as grading goes on; each gets the student's name."""

    total: Callable[[int], None] = lambda count: None
    started: Callable[[str], None] = lambda student: None
    done: Callable[[str, Report | Trouble], None] = lambda student, result: None


def grade_course(
    course: Course, name: str, source: Path | None = None, options: Options = Options(), events: Events = Events()
) -> Batch:
    """Grade one homework of a class.

    Args:
        source: what was handed in, stored under `submitted/` first; None grades what is there.

    Raises:
        UserError: the assignment is broken, there is nothing to grade, no engine, a locked gradebook.
    """
    with alone(course):
        remove_halves(course, name)
        return _grade_course(course, name, source, options, events)


def _grade_course(course: Course, name: str, source: Path | None, options: Options, events: Events) -> Batch:
    kind = permitted(options.sandbox or course.config.sandbox.kind, as_root=options.as_root)
    assignment = load_assignment(course.files(name, options.profile))
    _ = assignment.datasets  # at hand, or a sentence says which is not
    configure(course)
    batch = Batch(assignment, kind, image.digest(_image(course, options)) if kind == "docker" else None)
    with Reader(known_notebooks(course, name)) as look:
        if source is not None:
            collect_into(course, assignment, source, batch.record, look)
        submissions = _submissions(course, batch, options, look)
    try:
        with Book(course.gradebook_url) as book:
            book.ensure_assignment(assignment)
            _grade_all(course, batch, submissions, options, events, book)
    finally:
        sweep()
    everybody = with_others(course, name, batch.reports) if options.students else batch.reports
    page = course.feedback_dir(name) / "class.html"
    write_class_page(everybody, batch.rejected, assignment.title, page, known_people(course, assignment))
    done = {report.student for report in batch.reports}
    statuses = {who: f"not graded: {sentence}" for who, sentence in batch.rejected.items() if who not in done}
    write_scores(course, graded_assignments(course), statuses)
    return batch


def _image(course: Course, options: Options) -> str:
    """The image submissions run in: one that was named, or the course's own."""
    return options.image or course.config.sandbox.image or image.tag_of(course.config.image.requirements)


def _submissions(course: Course, batch: Batch, options: Options, look: Look) -> dict[str, Submission]:
    """What there is to grade, by student. Raises UserError if that is nothing at all."""
    name = batch.assignment.name
    nothing = UserError(f"there is no submission of {name} under {course.submitted_dir}; collect or name them first.")
    if not course.submitted_dir.is_dir() and not batch.rejected:
        raise nothing
    course.submitted_dir.mkdir(exist_ok=True)
    submissions = {}
    for student, found in stored(course, batch.assignment, batch.record, look).items():
        state = batch.record.get(student)
        submissions[student] = found if state is None else replace(found, notes=(*state.notes, *found.notes))
    if options.students:
        unknown = options.students - submissions.keys()
        if unknown:
            raise UserError(f"nothing of {', '.join(sorted(unknown))} lies under {course.submitted_dir}.")
        submissions = {student: submissions[student] for student in sorted(options.students)}
    if not submissions and not batch.rejected:
        raise nothing
    return submissions


def _grade_all(
    course: Course, batch: Batch, submissions: dict[str, Submission], options: Options, events: Events, book: Book
) -> None:
    settings = course.config.sandbox
    name = batch.assignment.name
    jobs: list[Job] = []
    stale: list[Job] = []  # graded, but what was made of it is not there or is of another content
    for student, submission in submissions.items():
        job = Job(
            homework=course.files(name, options.profile).resolved(),
            submission=submission,
            sandbox=batch.sandbox,
            salt=course.config.salt,
            gpu=options.gpu or settings.gpu,
            image=_image(course, options),
        )
        old = final_report(course.report_path(name, student))
        if old is None or not _stays(old, submission, batch, options):
            jobs.append(job)
            continue
        batch.record.settled(old)
        if not is_of(old, submission):
            continue
        stamp = up_to_date(course, batch.assignment, student)
        if stamp is None:
            stale.append(job)
        else:
            settle_unchanged(book, course, batch.assignment, old, stamp, submission)
    events.total(len(jobs))
    workers = options.jobs or settings.jobs or len(os.sched_getaffinity(0))
    _settle_all(course, batch, stale, workers, Events(), book, fresh=False)
    _settle_all(course, batch, jobs, workers, events, book, fresh=True)


def _settle_all(
    course: Course, batch: Batch, jobs: list[Job], workers: int, events: Events, book: Book, *, fresh: bool
) -> None:
    """Do every job in a judge process, and write what comes of it."""
    work = partial(grade_and_render if fresh else render_again, course)
    with closing(run_jobs(jobs, workers, work, events.started)) as results:
        for job, made in results:
            student = job.submission.student
            if isinstance(made, Trouble):
                batch.record.rejected(student, made.sentence)
            else:
                settle(book, course, batch.assignment, made, job.submission, fresh=fresh)
                batch.record.settled(made.report)
            events.done(student, made if isinstance(made, Trouble) else made.report)


def _stays(old: Report, submission: Submission, batch: Batch, options: Options) -> bool:
    """True if a submission is not run because of the report that is there."""
    if is_stronger(old, batch.sandbox):
        if is_of(old, submission):
            batch.kept.append(submission.student)
            return True
        if not options.force:
            batch.record.rejected(submission.student, CHANGED)
        return not options.force
    if not options.force and unchanged(old, submission, batch):
        batch.reused += 1
        return True
    return False


def unchanged(report: Report, submission: Submission, batch: Batch) -> bool:
    """True if grading again would only repeat the report."""
    return (
        is_of(report, submission)
        and report.checks_sha256 == batch.assignment.checks_sha256
        and (report.environment.sandbox, report.environment.image) == (batch.sandbox, batch.image)
    )
