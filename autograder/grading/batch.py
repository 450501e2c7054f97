"""Grading a class into its course folder: submissions in; reports, gradebook, pages and scores out.

A report on disk is the sign that its submission is done. Everything after it (gradebook, page, record) is written again
from the report whenever the class is graded, so a grader killed at any moment and started again ends where an
undisturbed one does. What did not change since costs a `stat` and a row of the record.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from autograder.course.course import Course
from autograder.errors import UserError
from autograder.grading.alone import alone, remove_halves
from autograder.grading.best import all_of, choose, to_grade
from autograder.grading.collecting import collect_into
from autograder.grading.executor import Executor, Trouble, run_jobs
from autograder.grading.orders import Orders, gpus_of, image_of
from autograder.grading.places import look_at_places, stored
from autograder.grading.plan import Plan, Task, Terms, plan_of, usual_seconds
from autograder.grading.reading import Reader
from autograder.grading.results import Batch, Events, Move, Options
from autograder.grading.stale import basis_now, note
from autograder.homework.assignment import Assignment, load_assignment
from autograder.homework.settings import LATER
from autograder.records.gradebook import Book, StudentScore
from autograder.records.nbgrader_config import configure
from autograder.records.pages import refresh, take_over_from_book
from autograder.records.record import Record
from autograder.records.rendering import Order, Rendered, grade_and_render, render_again, render_proposed
from autograder.records.reports import final_report
from autograder.records.scores import write_scores
from autograder.records.settle import Desk, enter_again, settle
from autograder.records.standing import entered_now, remarks_of_class
from autograder.records.state import State
from autograder.sandbox import permitted, sweep
from autograder.sandbox.identity import identity
from autograder.submission import Stored, Submission


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
            best = course.config.late.submission == "best"
            if best:
                batch.further = _grade_others(course, record, terms, options, source, events)
                source, total = None, events.total
                events = replace(events, total=lambda count: total(batch.further + count))
            plan = _planned(course, record, terms, options, source, entered)
            batch.reused, batch.kept = plan.reused, plan.kept
            batch.graded = [task.state.who for task in plan.grade]
            record.put_homework(assignment)
            _carry_out(batch, record, plan, terms, options, events)
            if best and options.publish and _choose(course, record, terms):
                terms, options = replace(terms, force=False), replace(options, publish=False)
                _carry_out(batch, record, _planned(course, record, terms, options, None, {}), terms, options, events)
            decided = entered_now(course, record)
            write_scores(course, record, decided)
            refresh(course, assignment, record, decided)
        return batch


def _carry_out(batch: Batch, record: Record, plan: Plan, terms: Terms, options: Options, events: Events) -> None:
    try:
        with Book(batch.course.gradebook_url) as book:
            _grade_all(Desk(batch.course, batch.assignment, book, record), batch, plan, terms, options, events)
    finally:
        sweep()


def _grade_others(
    course: Course, record: Record, terms: Terms, options: Options, source: Path | None, events: Events
) -> int:
    """Take in what was handed in, grade all of whoever handed in more than once, and put the best in its place.

    Returns:
        how many were graded.
    """
    packed = take_in(course, terms.assignment, record, source, options.times)
    several = all_of(course, record, terms, packed)
    todo = to_grade(several, terms, publish=options.publish, only_again=options.only_again)
    events.total(len(todo))
    orders = Orders(course, terms, options)
    jobs = [orders.of(attempt.stored(course)) for attempt in todo]
    places = {(attempt.student, attempt.sha256): attempt for attempt in todo}
    try:
        with Book(course.gradebook_url) as book:
            desk = Desk(course, terms.assignment, book, record)
            with closing(_graded(desk, jobs, orders, events)) as results:
                for made, submission in results:
                    places[submission.student, submission.sha256].put_report(made.report)
    finally:
        sweep()
    _choose(course, record, terms, packed)
    return len(todo)


def _choose(
    course: Course, record: Record, terms: Terms, packed: Mapping[str, Submission] = MappingProxyType({})
) -> bool:
    """Put everybody's best hand-in in its place; True if one was another than before."""
    moved = [choose(course, record, terms, one) for one in all_of(course, record, terms, packed)]
    return any(moved)


def look_ahead(course: Course, name: str, options: Options = Options()) -> Plan:
    """What grading would do now, and why; nothing is graded, and no mark moves.

    Raises:
        UserError: as `grade_course` does.
    """
    with alone(course), Record(course.root, name) as record:
        remove_halves(course, name)
        terms = _opened(course, name, record, options)[1]
        plan = _planned(course, record, terms, options, None, {})
        others = to_grade(all_of(course, record, terms, {}), terms, publish=options.publish, only_again=False)
        planned = {(task.state.who, task.submission.sha256) for task in plan.grade}
        plan.grade += [
            Task(State(one.student), one.stored(course), f"`{one.path}`, one of several")
            for one in others
            if (one.student, one.sha256) not in planned
        ]
        return plan


def _opened(course: Course, name: str, record: Record, options: Options) -> tuple[Assignment, Terms]:
    kind = permitted(options.sandbox or course.config.sandbox.kind, as_root=options.as_root)
    assignment = load_assignment(course.files(name, options.profile))
    _ = assignment.datasets  # at hand, or a sentence says which is not
    gpus_of(course, options, kind)  # likewise
    if assignment.config.feedback == LATER and name not in course.config.due:
        raise UserError(
            f"{assignment.files.config}: `feedback:` shows hidden checks after the deadline, and `due:` of course.yaml "
            f"has none for `{name}`."
        )
    where = identity(kind, image_of(course, options, assignment) if kind == "docker" else None)
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
        course.submitted_dir.mkdir(exist_ok=True)
        if source is not None and course.config.late.submission == "best":
            look_at_places(course, assignment, record, look)  # what counts is known before something comes beside it
        if source is not None:
            collect_into(course, assignment, source, record, look, times)
        return look_at_places(course, assignment, record, look)


def _grade_all(desk: Desk, batch: Batch, plan: Plan, terms: Terms, options: Options, events: Events) -> None:
    course = desk.course
    desk.book.ensure_assignment(desk.assignment)
    desk.book.add_students(course.people)
    for state in plan.lacking:
        enter_again(desk, state)
    _forget_what_is_gone(desk)
    remarks, lean = remarks_of_class(course, desk.record), replace(course, people={})
    orders, usual = Orders(course, terms, options), usual_seconds(plan)

    def order(task: Task) -> Order:
        return orders.of(task.submission, task.again, remarks(task.state), task.seconds or usual)

    events.total(len(plan.grade))
    render = [order(task) for task in plan.render]
    known = {task.state.who: task.state for task in plan.grade}
    for made, submission in _made(desk, render, partial(render_again, lean), orders.here, Events()):
        settle(desk, made, submission, fresh=False)
    with closing(_graded(desk, [order(task) for task in plan.grade], orders, events)) as results:
        for made, submission in results:
            _settle(desk, batch, known[submission.student], made, submission, options)
    if options.publish:
        waiting = [state for state in desk.record.states("proposed") if batch.is_mine(state)]
        tasks = [order(Task(state, stored(course, state), "")) for state in waiting if state.files is not None]
        for made, submission in _made(desk, tasks, partial(render_proposed, lean), orders.here, Events()):
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


def _graded(
    desk: Desk, jobs: list[Order], orders: Orders, events: Events
) -> Generator[tuple[Rendered, Submission | Stored], None, None]:
    """Grade submissions, here or on the cluster."""
    if jobs:
        with (
            orders.machines(jobs, events.said) as executor,
            closing(_made(desk, jobs, grade_and_render, executor, events)) as results,
        ):
            for made in results:
                note(desk.course, desk.assignment.name, orders.terms.basis)  # once there is a report that stands on it
                yield made


def _made(
    desk: Desk, jobs: list[Order], work: Callable[[Order], Rendered], executor: Executor, events: Events
) -> Generator[tuple[Rendered, Submission | Stored], None, None]:
    """Do every job in a judge process; what cannot be done is written down."""
    with closing(run_jobs(jobs, executor, work, events.started)) as results:
        for job, made in results:
            student = job.submission.student
            if isinstance(made, Trouble):
                desk.record.rejected(student, made.sentence, "grading")
            else:
                yield made, job.submission
            events.done(student, made if isinstance(made, Trouble) else made.report)
