"""What a person sees while a class is graded, and when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from autograder.commands.show import show_class
from autograder.course.course import Course
from autograder.feedback import text
from autograder.grading.batch import Batch, Events
from autograder.grading.local import Trouble
from autograder.report import Report


@contextmanager
def live(told: Callable[[str, Report | Trouble], str] = lambda student, result: "") -> Iterator[Events]:
    """A progress bar on stderr: how far, how long yet, who is being graded, what came out for each; in a log the last.

    Args:
        told: what else to say of a student's result, at the end of its line.
    """
    console = Console(stderr=True, highlight=False, markup=False)
    columns: list[ProgressColumn] = [TextColumn("grading"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    columns += [TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.description}", markup=False)]
    now: dict[str, None] = {}
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

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

        yield Events(total=lambda count: bar.update(task, total=count), started=started, done=done)


@contextmanager
def one_line(console: Console) -> Iterator[Callable[[str], None]]:
    """Shows what a long job says as one line that changes; in a log, its first and last words only."""
    if not console.is_terminal:
        yield lambda line: None
        return
    with console.status("") as status:
        yield lambda line: status.update(text.line(line, max(console.width - 10, 20)))


def _words(result: Report | Trouble) -> str:
    if isinstance(result, Trouble):
        return f"not graded: {text.line(result.sentence)}"
    if result.infrastructure:
        return "the machine failed; grade again"
    points = f"{text.points(result.earned)} / {text.points(result.automatic_points)}"
    return f"{points:>12} points in {result.timings['total']:5.1f} s"


def summary(course: Course, batch: Batch) -> None:
    """The table of the class on stdout, and where everything lies."""
    console = Console(markup=False, highlight=False)
    show_class(batch.reports, batch.rejected, batch.assignment.title, console=console)
    name = batch.assignment.name
    console.print()
    if batch.reused:
        console.print(f"{batch.reused} of them are unchanged and were not run again (--force runs them).")
    if batch.infrastructure:
        names = ", ".join(sorted(report.student for report in batch.infrastructure))
        console.print(f"The machine failed for {names}: no points are lost; run the same command again.")
        for check in [check for report in batch.infrastructure for check in report.checks if check.overran]:
            console.print(f"  {text.line(check.detail or check.message)}")
    walls = "containers" if batch.sandbox == "docker" else "the process sandbox, which is no security boundary"
    console.print(f"Submissions ran in {walls}.")
    rows = {
        "class page": course.feedback_dir(name) / "class.html",
        "student pages": course.feedback_dir(name),
        "scores": course.scores_path,
        "gradebook": course.gradebook_url,
        "reports": course.root / "reports" / name,
    }
    for what, where in rows.items():
        console.print(f"{what:14}{where}", soft_wrap=True)
