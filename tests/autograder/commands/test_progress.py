"""The time left is said from the first second on, and then by what is done."""

from __future__ import annotations

import io

from rich.console import Console
from rich.progress import Progress

from autograder.commands.progress import TimeLeft, one_line


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_it_took_elsewhere_counts_until_something_is_done() -> None:
    clock, column = Clock(), TimeLeft()
    progress = Progress(column, get_time=clock, console=Console(file=io.StringIO()))
    known, unknown = progress.add_task("", total=4, seconds=100.0), progress.add_task("", total=4)
    first, second = (next(task for task in progress.tasks if task.id == name) for name in (known, unknown))
    assert column.render(first).plain == "about 100 s left"
    assert column.render(second).plain == ""
    clock.now = 30.0
    assert column.render(first).plain == "about 70 s left"
    clock.now = 200.0
    assert column.render(first).plain == "about 1.0 s left"
    for moment in (220.0, 240.0):
        clock.now = moment
        progress.advance(known)
    assert column.render(first).plain == "about 40 s left"


def test_a_long_job_is_one_line_in_a_terminal_and_none_in_a_log() -> None:
    for terminal in (True, False):
        file = io.StringIO()
        with one_line(Console(file=file, force_terminal=terminal, width=100), "image", 240.0) as say:
            say("Get:1 http://mirror.example/debian bookworm\tmain")
        assert ("image" in file.getvalue()) is terminal
        assert file.getvalue().count("\n") <= 2
