"""What `grade --dry-run` says."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from autograder.course.course import load_course
from autograder.feedback import text
from autograder.grading.batch import look_ahead
from autograder.grading.plan import core_seconds
from autograder.grading.results import Options

MINUTE = 60.0


def say_plan(course: Path, name: str, options: Options) -> None:
    """Print what grading would do now, and why."""
    plan = look_ahead(load_course(course), name, options)
    console = Console(markup=False, highlight=False)
    for task in plan.grade:
        console.print(f"{text.line(task.state.who, 30):14}{text.line(task.why, 500)}", soft_wrap=True)
    minutes = core_seconds(plan) / MINUTE
    console.print(
        f"{text.count(len(plan.grade), 'submission')} would be run, about {minutes:.1f} core-minutes; "
        f"{plan.reused} unchanged. Nothing was graded.",
        soft_wrap=True,
    )
