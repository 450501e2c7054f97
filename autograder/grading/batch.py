"""Grading a class into its course folder: submissions in; reports, gradebook, pages and scores out.

A report on disk is the sign that its submission is done. Everything after it (gradebook, page, record) is written again
from the report whenever the class is graded, so a grader killed at any moment and started again ends where an
undisturbed one does. What did not change since costs a `stat` and a row of the record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from autograder.course.course import Course
from autograder.grading.alone import alone, remove_halves
from autograder.grading.collecting import collect_into
from autograder.grading.local import Trouble, run_jobs
from autograder.grading.pages import write_pages
from autograder.grading.places import look_at_places
from autograder.grading.plan import Plan, Task, Terms, plan_of
from autograder.grading.reading import Reader
from autograder.homework.assignment import Assignment, load_assignment
from autograder.judge.grade import Job
from autograder.records.formgrader import configure
from autograder.records.gradebook import Book
from autograder.records.record import Record
from autograder.records.rendering import grade_and_render, render_again
from autograder.records.scores import write_scores
from autograder.records.settle import Desk, enter_again, settle
from autograder.records.state import State
from autograder.report import Report
from autograder.sandbox import SandboxKind, permitted, sweep
from autograder.sandbox.tags import tag_of
from autograder.submission import Submission


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

    course: Course
    assignment: Assignment
    sandbox: SandboxKind
    students: frozenset[str] = frozenset()  # only these were graded; empty: all
    reused: int = 0
    kept: list[str] = field(default_factory=list)  # students whose report was made behind stronger walls and stays
    failed: list[Report] = field(default_factory=list)  # by the machine, of submissions that keep an earlier report

    def states(self) -> list[State]:
        """Where everybody stands."""
        with self._record() as record:
            return list(record.states())

    @property
    def reports(self) -> list[Report]:
        """One for each submission that was graded, now or before."""
        mine = [s.who for s in self.states() if s.report is not None and self._is_mine(s)]
        return [Report.load(self.course.report_path(self.assignment.name, who)) for who in mine]

    def briefs(self) -> Iterator[Report]:
        """The same, one at a time, without what only a student's page shows."""
        mine = [s.who for s in self.states() if s.report is not None and self._is_mine(s)]
        with self._record() as record:
            yield from record.briefs(mine)

    @property
    def rejected(self) -> dict[str, str]:
        """Student or path -> why something handed in was not graded, a sentence."""
        return {state.who: state.rejected for state in self.states() if state.rejected is not None}

    @property
    def infrastructure(self) -> list[Report]:
        """Reports with something in them that the machine failed to grade; grading again queues those not final."""
        mine = [s.who for s in self.states() if s.infrastructure and self._is_mine(s)]
        with self._record() as record:
            return [*record.briefs(mine), *self.failed]

    def _is_mine(self, state: State) -> bool:
        return not self.students or state.who in self.students

    def _record(self) -> Record:
        return Record(self.course.root, self.assignment.name)


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
        kind = permitted(options.sandbox or course.config.sandbox.kind, as_root=options.as_root)
        assignment = load_assignment(course.files(name, options.profile))
        _ = assignment.datasets  # at hand, or a sentence says which is not
        configure(course)
        batch = Batch(course, assignment, kind, options.students)
        terms = Terms(assignment, kind, basis(course, assignment, kind, options), options.force, options.students)
        with Record(course.root, name) as record:
            packed = take_in(course, assignment, record, source)
            plan = plan_of(course, record, terms, packed)
            batch.reused, batch.kept = plan.reused, plan.kept
            record.put_homework(assignment)
            try:
                with Book(course.gradebook_url) as book:
                    desk = Desk(course, assignment, book, record)
                    _grade_all(desk, batch, plan, packed, options, events)
            finally:
                sweep()
            write_pages(course, assignment, record)
            write_scores(course, record)
        return batch


def take_in(course: Course, assignment: Assignment, record: Record, source: Path | None) -> Mapping[str, Submission]:
    """Collect what was handed in, if something was, and bring the record up to what lies under `submitted/`."""
    with Reader(record) as look:
        if source is not None:
            collect_into(course, assignment, source, record, look)
        course.submitted_dir.mkdir(exist_ok=True)
        return look_at_places(course, assignment, record, look)


def basis(course: Course, assignment: Assignment, kind: SandboxKind, options: Options) -> str:
    """Under what marks are made now."""
    return assignment.checks_sha256


def _image(course: Course, options: Options, assignment: Assignment) -> str:
    """The image submissions run in: one that was named, or the course's own with the homework's packages."""
    needed = [*course.config.image.requirements, *assignment.config.packages]
    return options.image or course.config.sandbox.image or tag_of(needed)


def _grade_all(
    desk: Desk, batch: Batch, plan: Plan, packed: Mapping[str, Submission], options: Options, events: Events
) -> None:
    course, settings = desk.course, desk.course.config.sandbox
    desk.book.ensure_assignment(desk.assignment)
    desk.book.add_students(course.people)
    _enter_what_is_missing(desk, plan)

    def job(task: Task) -> Job:
        return Job(
            homework=course.files(desk.assignment.name, options.profile).resolved(),
            submission=task.submission,
            sandbox=batch.sandbox,
            salt=course.config.salt,
            gpu=options.gpu or settings.gpu,
            image=_image(course, options, desk.assignment),
        )

    events.total(len(plan.grade))
    workers = options.jobs or settings.jobs or len(os.sched_getaffinity(0))
    _settle_all(desk, batch, list(map(job, plan.render)), workers, Events(), fresh=False)
    _settle_all(desk, batch, list(map(job, plan.grade)), workers, events, fresh=True)


def _enter_what_is_missing(desk: Desk, plan: Plan) -> None:
    """Enter what is done in a gradebook that has something else, or nothing."""
    entered = desk.book.standing(desk.assignment.name)
    for state in plan.done:
        wanted = state.marks | {cell: None if given else 0.0 for cell, given in state.answered.items()}
        if not state.infrastructure and entered.get(state.who) != wanted:
            enter_again(desk, state)


def _settle_all(desk: Desk, batch: Batch, jobs: list[Job], workers: int, events: Events, *, fresh: bool) -> None:
    """Do every job in a judge process, and write what comes of it."""
    work = partial(grade_and_render if fresh else render_again, desk.course)
    with closing(run_jobs(jobs, workers, work, events.started)) as results:
        for job, made in results:
            student = job.submission.student
            if isinstance(made, Trouble):
                desk.record.rejected(student, made.sentence, "grading")
            else:
                settle(desk, made, job.submission, fresh=fresh)
            events.done(student, made if isinstance(made, Trouble) else made.report)
