"""One record of each student's state in a homework: what came of what they handed in.

Written by collecting and settling; read by scores, pages and summaries, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from autograder.report import Report


@dataclass(frozen=True)
class State:
    """Where somebody stands. A student may have both a report and a sentence: the newer of two hand-ins was broken.

    Args:
        who: the student's id, or the path of something that nobody on the course's list could be named for.
        report: of what was graded.
        rejected: why something handed in could not be graded, a sentence.
        notes: for the student, made while collecting.
    """

    who: str
    report: Report | None = None
    rejected: str | None = None
    notes: tuple[str, ...] = ()


class StateRecord(Protocol):
    """What collecting and settling write and everybody else reads."""

    def collected(self, student: str, notes: tuple[str, ...]) -> None:
        """A submission lies in its place."""

    def rejected(self, who: str, sentence: str) -> None:
        """Something handed in, or its grading, failed through no report of its own."""

    def settled(self, report: Report) -> None:
        """A report is made, or found to be still good."""

    def get(self, who: str) -> State | None:
        """The state of one student; None if nothing is known."""

    def states(self) -> Iterable[State]:
        """Every state, in the order in which they came to be known."""


class MemoryRecord:
    """The record of one batch, as long as it runs."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}

    def collected(self, student: str, notes: tuple[str, ...]) -> None:
        self._put(replace(self._state(student), notes=notes))

    def rejected(self, who: str, sentence: str) -> None:
        self._put(replace(self._state(who), rejected=sentence))

    def settled(self, report: Report) -> None:
        self._put(replace(self._state(report.student), report=report))

    def get(self, who: str) -> State | None:
        return self._states.get(who)

    def states(self) -> Iterable[State]:
        return self._states.values()

    def _state(self, who: str) -> State:
        return self._states.get(who) or State(who)

    def _put(self, state: State) -> None:
        self._states[state.who] = state
