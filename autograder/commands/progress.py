"""What a person sees while a class is graded, and when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from autograder.commands.show import moved, show_class
from autograder.course.course import Course
from autograder.feedback import text
from autograder.grading.executor import Trouble
from autograder.grading.results import Batch, Events
from autograder.records.gradebook import shown_url
from autograder.records.state import State
from autograder.report import Outcome, Report

SHOWN = 500  # unchanged submissions up to which the table of a class names all
OPEN: Outcome = "infrastructure"


class TimeLeft(ProgressColumn):
    """The time left: by what is done, and before anything is by what it took elsewhere."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """As "about 2 min 10 s left"; nothing where nothing is known."""
        left = task.time_remaining if task.completed else None
        if left is None and task.fields.get("seconds"):
            left = max(task.fields["seconds"] - (task.elapsed or 0.0), 1.0)
        return Text("" if left is None else f"about {text.duration(round(left))} left")


@contextmanager
def live(
    told: Callable[[str, Report | Trouble], str] = lambda student, result: "", seconds: float = 0.0
) -> Iterator[Events]:
    """A progress bar on stderr: how far, how long yet, who is being graded, what came out for each; in a log the last.

    Args:
        told: what else to say of a student's result, at the end of its line.
        seconds: how long all of it took elsewhere; 0 where nobody knows.
    """
    console = Console(stderr=True, highlight=False, markup=False)
    columns: list[ProgressColumn] = [TextColumn("grading"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    columns += [TimeLeft(), TextColumn("{task.description}", markup=False)]
    now: dict[str, None] = {}
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, seconds=seconds)

        def started(student: str) -> None:
            now[student] = None
            bar.update(task, description=", ".join(text.line(name, 30) for name in now))

        def done(student: str, result: Report | Trouble) -> None:
            now.pop(student, None)
            bar.update(task, advance=1, description=", ".join(text.line(name, 30) for name in now))
            more = told(student, result)
            console.print(
                f"{text.line(student, 30):14}{_words(result)}" + (f"   {more}" if more else ""), soft_wrap=True
            )

        def said(line: str) -> None:
            console.print(text.line(line, 1000), soft_wrap=True)

        yield Events(total=lambda count: bar.update(task, total=count), started=started, done=done, said=said)


@contextmanager
def one_line(console: Console, what: str, seconds: float) -> Iterator[Callable[[str], None]]:
    """Shows what a long job says as one line that changes, with the time left; in a log nothing.

    Args:
        what: the job.
        seconds: how long it took elsewhere.
    """
    columns = [TextColumn(what), TimeElapsedColumn(), TimeLeft(), TextColumn("{task.description}", markup=False)]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, seconds=seconds)
        yield lambda line: bar.update(task, description=text.line(line, max(console.width - len(what) - 40, 20)))


def _words(result: Report | Trouble) -> str:
    if isinstance(result, Trouble):
        return f"not graded: {text.line(result.sentence)}"
    if result.infrastructure:
        if _by_checks_alone(result):
            return "a check is broken; no points are lost"
        return "the machine was too busy, twice" if result.final else "the machine failed; grade again"
    points = f"{text.points(result.earned)} / {text.amount(result.automatic_points)}"
    return f"{points:>19} in {result.timings['total']:5.1f} s"


def _by_checks_alone(report: Report) -> bool:
    """True if nothing but broken checks keeps a report open."""
    return all(check.stumbled for check in report.checks if check.outcome == OPEN)


def _say_what_failed(reports: list[Report], console: Console) -> None:
    """What is not graded for no fault of a student's, and what to do about it."""
    machine = [report for report in reports if not _by_checks_alone(report)]
    for final, trouble, again in (
        (False, "The machine failed for {}", " again"),
        (True, "The machine was too busy for {}, twice", " with --force, when it has less to do"),
    ):
        names = ", ".join(sorted(report.student for report in machine if report.final is final))
        if names:
            console.print(f"{trouble.format(names)}: no points are lost; run the same command{again}.")
    for check in [check for report in machine for check in report.checks if check.overran]:
        console.print(f"  {text.line(check.detail or check.message)}")
    doubted = [check for report in reports for check in report.checks if check.outcome == OPEN]
    broken = ", ".join(sorted({check.id for check in doubted if check.stumbled}))
    if broken:
        console.print(f"Checks are broken: {broken}. Mend them and grade again (see the class page).")


def _say_moves(batch: Batch, console: Console) -> None:
    """Old and new points of whoever was graded again with another outcome, now or before, until it is published."""
    for move in (move for move in batch.moves if move.published):
        console.print(f"{text.line(move.student, 30):14}{moved(move.old, move.new)}", soft_wrap=True)
    name = batch.assignment.name
    waiting = batch.states("proposed")
    for state in waiting[:SHOWN]:
        console.print(f"{text.line(state.who, 30):14}{moved(state.marks, state.proposed or {})}", soft_wrap=True)
    if waiting:
        count = text.count(len(waiting), "submission")
        console.print(
            f"Marks of {count} would move; they stay until `autograder regrade {name} --publish`.", soft_wrap=True
        )


def matches(states: Iterable[State]) -> Iterator[str]:
    """A line for everybody whose work was known by something else than the id, for a person to look through."""
    found = [state for state in states if state.matched and state.sha is not None]
    if found:
        yield "Known by something else than an id, look them through:"
    yield from (f"  {text.line(s.source or s.path)} → {text.line(s.who)}, {text.line(s.matched)}" for s in found)


def summary(course: Course, batch: Batch) -> None:
    """The table of the class on stdout, and where everything lies."""
    console = Console(markup=False, highlight=False)
    many = batch.reused > SHOWN
    show_class(batch.briefs(fresh=many), batch.rejected, batch.assignment.title, console=console)
    name = batch.assignment.name
    console.print()
    if batch.reused:
        console.print(
            f"{batch.reused} of them are unchanged and were not run again (`autograder grade {name} --force` does)."
        )
    if batch.further:
        console.print(f"{text.count(batch.further, 'hand-in')} of students who handed in more than once, each graded.")
    if batch.kept:
        names = ", ".join(batch.kept)
        console.print(f"Graded in containers before and kept as they are, for this run has none: {names}.")
    for line in matches(state for state in batch.states() if batch.is_mine(state)):
        console.print(line, soft_wrap=True)
    _say_what_failed(batch.infrastructure, console)
    _say_moves(batch, console)
    walls = "containers" if batch.sandbox == "docker" else "the process sandbox, which is no security boundary"
    console.print(f"Submissions ran in {walls}.")
    rows = {
        "class page": course.feedback_dir(name) / "class.html",
        "student pages": course.feedback_dir(name),
        "scores": course.scores_path,
        "gradebook": shown_url(course.gradebook_url),
        "reports": course.root / "reports" / name,
    }
    for what, where in rows.items():
        console.print(f"{what:14}{where}", soft_wrap=True)
