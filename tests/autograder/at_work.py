"""What judge processes are given to do in tests, importable there; a job's salt tells which test's it is."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch

from autograder.errors import Infrastructure, StudentFault, UserError
from autograder.judge.grade import Job


def name(job: Job) -> tuple[str, bool, int]:
    """Who was graded, whether another job follows, and by which process."""
    return job.submission.student, job.more, os.getpid()


def threads(job: Job) -> int:
    """How many threads a judge's own arithmetic has."""
    return torch.get_num_threads()


def die(job: Job) -> str:
    """`killer` kills its judge; `once` too, but only the first time; `slow` is at work meanwhile."""
    student = job.submission.student
    if student == "killer" or (student == "once" and not _happened(job, "died")):
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGKILL)
    if student == "slow":
        time.sleep(0.6)
    return student


def stumble(job: Job) -> str:
    """Ends in whatever the student is called."""
    errors = {
        "key": KeyError("k"),
        "exit": SystemExit(3),
        "fault": StudentFault("a fault", reason="wrong"),
        "machine": Infrastructure("no engine"),
        "interrupt": KeyboardInterrupt(),
        "odd": _Odd("a", "b"),
    }
    if job.submission.student in errors:
        raise errors[job.submission.student]
    return job.submission.student


def refuse(job: Job) -> str:
    """The assignment is broken."""
    raise UserError("points do not add up")


def sleep(job: Job) -> str:
    """Says who is at work, and then works for a minute."""
    (job.homework.assignments / str(os.getpid())).touch()
    time.sleep(60)
    return "done"


class _Odd(Exception):  # noqa: N818 (it can be pickled, and not unpickled)
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


def _happened(job: Job, what: str) -> bool:
    """False the first time."""
    path: Path = job.homework.assignments / f"{job.submission.student}-{what}"
    before = path.exists()
    path.touch()
    return before
