"""Grading a class into its course folder: submissions in; reports, gradebook, pages and scores out.

A report on disk is the sign that its submission is done. Everything after it (gradebook, page, record) is written again
from the report whenever the class is graded, so a grader killed at any moment and started again ends where an
undisturbed one does. What did not change since costs a `stat` and a row of the record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from autograder.course.course import Course
from autograder.errors import UserError
from autograder.feedback import Brief
from autograder.grading.alone import alone, remove_halves
from autograder.grading.collecting import collect_into
from autograder.grading.local import Trouble, run_jobs
from autograder.grading.places import look_at_places, stored
from autograder.grading.plan import Plan, Task, Terms, plan_of
from autograder.grading.reading import Reader
from autograder.grading.stale import basis_now, note
from autograder.homework.assignment import Assignment, load_assignment
from autograder.homework.settings import LATER
from autograder.judge.basis import Basis
from autograder.judge.job import Job
from autograder.records.gradebook import Book, StudentScore
from autograder.records.nbgrader_config import configure
from autograder.records.pages import refresh, take_over_from_book
from autograder.records.record import Kind, Record
from autograder.records.rendering import Rendered, grade_and_render, render_again, render_proposed
from autograder.records.reports import final_report
from autograder.records.scores import write_scores
from autograder.records.settle import Desk, enter_again, settle
from autograder.records.standing import entered_now
from autograder.records.state import State
from autograder.report import Report
from autograder.sandbox import SandboxKind, permitted, sweep
from autograder.sandbox.identity import identity
from autograder.sandbox.tags import tag_of
from autograder.submission import Stored, Submission


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
    only_again: bool = False  # nothing that was never graded
    publish: bool = False  # marks of submissions graded again take the place of those that were published
    times: Path | None = None  # a report of the course page that says when each was handed in


@dataclass(frozen=True)
class Move:
    """Marks of the same submission, graded again."""

    student: str
    old: Mapping[str, float | None]
    new: Mapping[str, float | None]
    published: bool


@dataclass
class Batch:
    """What grading a class gave."""

    course: Course
    assignment: Assignment
    sandbox: SandboxKind
    students: frozenset[str] = frozenset()  # only these were graded; empty: all
    reused: int = 0
    graded: list[str] = field(default_factory=list)  # students whose submissions were run now
    kept: list[str] = field(default_factory=list)  # students whose report was made behind stronger walls and stays
    failed: list[Report] = field(default_factory=list)  # by the machine, of submissions that keep an earlier report
    moves: list[Move] = field(default_factory=list)  # marks of submissions graded again that are not what they were

    def states(self, kind: Kind = "all") -> list[State]:
        """Where everybody stands, or those of a kind."""
        with self._record() as record:
            return list(record.states(kind))

    @property
    def reports(self) -> list[Report]:
        """One for each submission that was graded, now or before."""
        mine = [s.who for s in self.states() if s.report is not None and self.is_mine(s)]
        return [Report.load(self.course.report_path(self.assignment.name, who)) for who in mine]

    def briefs(self, *, fresh: bool = False) -> Iterator[Brief]:
        """What a class is told of them, one at a time.

        Args:
            fresh: only those that were graded now.
        """
        with self._record() as record:
            yield from record.briefs(self.graded if fresh else self.students or None)

    @property
    def rejected(self) -> dict[str, str]:
        """Student or path -> why something handed in was not graded, a sentence."""
        return {state.who: state.rejected for state in self.states("rejected") if state.rejected}

    @property
    def infrastructure(self) -> list[Report]:
        """Of reports in which the machine failed, what it failed in; grading again queues those not final."""
        name = self.assignment.name
        paths = [self.course.report_path(name, s.who) for s in self.states("infrastructure") if self.is_mine(s)]
        return [_open_part(report) for report in (*map(Report.load, paths), *self.failed)]

    def is_mine(self, state: State) -> bool:
        """True if this was to be graded."""
        return not self.students or state.who in self.students

    def _record(self) -> Record:
        return Record(self.course.root, self.assignment.name)


def _open_part(report: Report) -> Report:
    """A report without what went well: of a large class it may be many."""
    trouble = [check for check in report.checks if check.outcome == "infrastructure"]
    return report.model_copy(update={"checks": trouble, "runs": []})


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
        configure(course)
        with Record(course.root, name) as record:
            assignment, terms = _opened(course, name, record, options)
            batch = Batch(course, assignment, terms.sandbox, options.students)
            entered = take_over_from_book(course, record, assignment.points_of_cells)
            plan = _planned(course, record, terms, options, source, entered)
            batch.reused, batch.kept = plan.reused, plan.kept
            batch.graded = [task.state.who for task in plan.grade]
            record.put_homework(assignment)
            try:
                with Book(course.gradebook_url) as book:
                    desk = Desk(course, assignment, book, record)
                    _grade_all(desk, batch, plan, terms.basis, options, events)
            finally:
                sweep()
            decided = entered_now(course, record)
            write_scores(course, record, decided)
            refresh(course, assignment, record, decided)
        return batch


def look_ahead(course: Course, name: str, options: Options = Options()) -> Plan:
    """What grading would do now, and why; nothing is graded, and no mark moves.

    Raises:
        UserError: as `grade_course` does.
    """
    with alone(course), Record(course.root, name) as record:
        remove_halves(course, name)
        return _planned(course, record, _opened(course, name, record, options)[1], options, None, {})


def _opened(course: Course, name: str, record: Record, options: Options) -> tuple[Assignment, Terms]:
    kind = permitted(options.sandbox or course.config.sandbox.kind, as_root=options.as_root)
    assignment = load_assignment(course.files(name, options.profile))
    _ = assignment.datasets  # at hand, or a sentence says which is not
    if assignment.config.feedback == LATER and name not in course.config.due:
        raise UserError(
            f"{assignment.files.config}: `feedback:` shows hidden checks after the deadline, and `due:` of course.yaml "
            f"has none for `{name}`."
        )
    where = identity(kind, _image(course, options, assignment) if kind == "docker" else None)
    return assignment, Terms(assignment, kind, basis_now(record, assignment, where), options.force, options.students)


def _planned(
    course: Course,
    record: Record,
    terms: Terms,
    options: Options,
    source: Path | None,
    entered: Mapping[str, StudentScore],
) -> Plan:
    packed = take_in(course, terms.assignment, record, source, options.times)
    plan = plan_of(course, record, terms, packed, entered)
    if options.only_again:
        plan.grade = [task for task in plan.grade if task.state.graded == task.state.sha]
    return plan


def take_in(
    course: Course, assignment: Assignment, record: Record, source: Path | None, times: Path | None = None
) -> Mapping[str, Submission]:
    """Collect what was handed in, if something was, and bring the record up to what lies under `submitted/`.

    Args:
        times: a report of the course page that says when each was handed in.
    """
    with Reader(record) as look:
        if source is not None:
            collect_into(course, assignment, source, record, look, times)
        course.submitted_dir.mkdir(exist_ok=True)
        return look_at_places(course, assignment, record, look)


def _image(course: Course, options: Options, assignment: Assignment) -> str:
    """The image submissions run in: one that was named, or the course's own with the homework's packages."""
    needed = [*course.config.image.requirements, *assignment.config.packages]
    return options.image or course.config.sandbox.image or tag_of(needed)


def _grade_all(desk: Desk, batch: Batch, plan: Plan, basis: Basis, options: Options, events: Events) -> None:
    course, settings = desk.course, desk.course.config.sandbox
    desk.book.ensure_assignment(desk.assignment)
    desk.book.add_students(course.people)
    for state in plan.lacking:
        enter_again(desk, state)
    _forget_what_is_gone(desk)

    def job(task: Task) -> Job:
        return Job(
            homework=course.files(desk.assignment.name, options.profile).resolved(),
            submission=task.submission,
            sandbox=batch.sandbox,
            salt=course.config.salt,
            gpu=options.gpu or settings.gpu,
            image=_image(course, options, desk.assignment),
            basis=basis,
            again=task.again,
        )

    events.total(len(plan.grade))
    workers = options.jobs or settings.jobs or len(os.sched_getaffinity(0))
    render = [job(task) for task in plan.render]
    known = {task.state.who: task.state for task in plan.grade}
    for made, submission in _made(desk, render, render_again, workers, Events()):
        settle(desk, made, submission, fresh=False)
    for made, submission in _made(desk, [job(task) for task in plan.grade], grade_and_render, workers, events):
        note(course, desk.assignment.name, basis)  # once there is a report that stands on it
        _settle(desk, batch, known[submission.student], made, submission, options)
    if options.publish:
        waiting = [state for state in desk.record.states("proposed") if batch.is_mine(state)]
        tasks = [job(Task(state, stored(course, state), "")) for state in waiting if state.files is not None]
        for made, submission in _made(desk, tasks, render_proposed, workers, Events()):
            _publish(desk, batch, made, submission)


def _settle(
    desk: Desk, batch: Batch, state: State, made: Rendered, submission: Submission | Stored, options: Options
) -> None:
    """Settle a report. Marks that were published for the same submission stay, until newer ones are published."""
    report, name = made.report, desk.assignment.name
    published = state.report is not None and not state.infrastructure and state.graded == submission.sha256
    if published and report.infrastructure:
        batch.failed.append(report)
        return
    if published and report.marks != state.marks and not options.publish:
        report.save(desk.course.proposed_path(name, report.student))
        desk.record.change(report.student, proposed=report.marks, basis=report.basis)
        batch.moves.append(Move(report.student, state.marks, report.marks, published=False))
        return
    if published and report.marks != state.marks:
        batch.moves.append(Move(report.student, state.marks, report.marks, published=True))
    settle(desk, made, submission)
    _forget_proposal(desk, report.student)


def _publish(desk: Desk, batch: Batch, made: Rendered, submission: Submission | Stored) -> None:
    """Put a report in the place of the one whose marks were published."""
    old = desk.record.get(submission.student)
    batch.moves.append(Move(submission.student, old.marks if old else {}, made.report.marks, published=True))
    settle(desk, made, submission)
    _forget_proposal(desk, submission.student)


def _forget_proposal(desk: Desk, student: str) -> None:
    desk.course.proposed_path(desk.assignment.name, student).unlink(missing_ok=True)
    state = desk.record.get(student)
    if state is not None and state.proposed is not None:
        desk.record.change(student, proposed=None)


def _forget_what_is_gone(desk: Desk) -> None:
    """Proposals whose reports are not there: a grader that was killed has published them, or somebody removed them."""
    name = desk.assignment.name
    for state in desk.record.states("proposed"):
        report = final_report(desk.course.report_path(name, state.who), final=False)
        if report is not None and not desk.course.proposed_path(name, state.who).is_file():
            desk.record.change(state.who, proposed=None, basis=report.basis)


def _made(
    desk: Desk, jobs: list[Job], work: Callable[[Course, Job], Rendered], workers: int, events: Events
) -> Iterator[tuple[Rendered, Submission | Stored]]:
    """Do every job in a judge process; what cannot be done is written down."""
    with closing(run_jobs(jobs, workers, partial(work, replace(desk.course, people={})), events.started)) as results:
        for job, made in results:
            student = job.submission.student
            if isinstance(made, Trouble):
                desk.record.rejected(student, made.sentence, "grading")
            else:
                yield made, job.submission
            events.done(student, made if isinstance(made, Trouble) else made.report)
