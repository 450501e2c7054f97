"""What may be asked of grading a class, what is told on the way, and what it gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autograder.course.course import Course
from autograder.feedback import Brief
from autograder.grading.cluster import Reach
from autograder.grading.executor import Trouble
from autograder.homework.assignment import Assignment
from autograder.records.record import Kind, Record
from autograder.records.state import State
from autograder.report import Report
from autograder.sandbox import SandboxKind


@dataclass(frozen=True)
class Options:
    """How to grade; what is None comes from course.yaml."""

    sandbox: SandboxKind | None = None
    as_root: bool = False  # said a second time, by root who names the process sandbox
    jobs: int | None = None
    gpu: str | None = None  # ids of devices, as in "0,1": each job has one of them
    cluster: Reach | None = None  # None: this machine grades
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
    further: int = 0  # hand-ins that were graded now beside those, of students who handed in more than once
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
    """Told as grading goes on; started and done get the student's name."""

    total: Callable[[int], None] = lambda count: None
    started: Callable[[str], None] = lambda student: None
    done: Callable[[str, Report | Trouble], None] = lambda student, result: None
    said: Callable[[str], None] = lambda line: None  # what else a person should know
