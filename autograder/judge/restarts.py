"""How often a submission's sandbox is started: each costs a second, and a notebook may kill every one it gets."""

from __future__ import annotations

from autograder.errors import StudentFault

CELLS = 8  # cells that may end a sandbox; what stands below the last of them is not run
STARTS = 24  # sandboxes of one submission


class Restarts:
    """Counts what a submission ended."""

    def __init__(self) -> None:
        self.cells = 0  # that ended a sandbox
        self._ended = 0

    def ended(self) -> None:
        """Student code has ended a sandbox."""
        self._ended += 1

    @property
    def cells_left(self) -> bool:
        """Whether another cell may end a sandbox."""
        return self.cells < CELLS

    def check(self) -> None:
        """Raise StudentFault if there is no sandbox left for this submission."""
        if self._ended >= STARTS:
            message = f"your code ended the process {self._ended} times, and it was not started again: this was not run"
            raise StudentFault(message, reason="crash")


def not_run() -> StudentFault:
    """What is said of a cell below the last that was allowed to end a sandbox."""
    return StudentFault(f"it was not run: {CELLS} cells above it ended the process", reason="crash")
