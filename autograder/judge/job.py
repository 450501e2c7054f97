"""One submission to grade, and how: what travels to a judge process. Torch is loaded there alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from autograder.homework.assignment import Assignment, load_assignment
from autograder.homework.files import HomeworkFiles
from autograder.judge.basis import Basis
from autograder.sandbox import SandboxKind
from autograder.submission import Stored, Submission


@dataclass(frozen=True)
class Again:
    """Grading anew what is stale, and nothing else.

    Args:
        report: of the same submission; its other outcomes stay.
        stale: names of checks.
    """

    report: Path
    stale: frozenset[str]


@dataclass(frozen=True)
class Job:
    """One submission to grade, and how.

    Args:
        sandbox: already resolved, never "auto": every submission of a class meets the same walls.
        salt: the course's own number; seeds derive from it so that no student can know them beforehand.
        round: of an audit that plays the notebook anew for every seed.
        law: the round whose laws are drawn, where that is another one.
        control: try checks that break on the solution too, before a submission pays for them.
        image: another than the one with the homework's packages.
        more: another job follows on this process, so a sandbox may be warmed up for it.
        last: what the machine is too busy for is not tried again later, alone: what is found now is final.
        basis: what the marks stand on, for the report.
        again: of a submission that was graded before, run only some checks.
        spool: see `judge.kept`.
    """

    homework: HomeworkFiles
    submission: Submission | Stored
    sandbox: SandboxKind
    salt: int = 0
    round: int = 0
    law: int | None = None
    control: bool = True
    gpu: str | None = None
    image: str | None = None
    more: bool = False
    last: bool = True
    basis: Basis | None = None
    again: Again | None = None
    spool: str | None = None  # a file for what is found on the way, should this process die


@cache
def assignment_of(files: HomeworkFiles) -> Assignment:
    """The assignment, loaded once in a judge process."""
    return load_assignment(files)
