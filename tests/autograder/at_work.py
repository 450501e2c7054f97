"""What judge processes are given to do in tests, importable there; a job's salt tells which test's it is."""

from __future__ import annotations

import importlib
import os
import re
import resource
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from autograder.course.course import Course
from autograder.errors import Infrastructure, StudentFault, UserError
from autograder.judge.grade import grade
from autograder.judge.job import Job
from autograder.records.rendering import Order, Rendered, grade_and_render
from autograder.report import Report


def name(job: Job) -> tuple[str, bool, int]:
    """Who was graded, whether another job follows, and by which process."""
    return job.submission.student, job.more, os.getpid()


def gpu(job: Job) -> str | None:
    """The device a job has."""
    time.sleep(0.2)
    return job.gpu


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


@dataclass(frozen=True)
class Told:
    """As much of a report as matters here."""

    starved: bool


def starve(job: Job) -> Told:
    """The machine is too busy for `busy` always, for `once` the first time; who is at work beside them is noted."""
    student, folder = job.submission.student, job.homework.assignments
    with (folder / "together").open("a") as file:
        beside = [path.name for path in folder.glob("at-work-*")]
        file.write(" ".join(beside) if job.last and beside else "")
    mark = folder / f"at-work-{student}"
    mark.touch()
    time.sleep(0.1)
    mark.unlink()
    return Told(student == "busy" or (student == "once" and not _happened(job, "starved")))


def starve_twice(job: Job) -> list[Told]:
    """Two reports, of which the second has the trouble."""
    return [Told(False), starve(job)]


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
    """Says who is at work as long as it lasts, a minute."""
    mark = job.homework.assignments / str(os.getpid())
    mark.touch()
    time.sleep(60)
    mark.unlink()
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


def impatient(job: Job) -> Report:
    """Grades as ever, but the judge's own part of a check may take half a second."""
    with (job.homework.assignments.parent / "begun").open("a") as file:
        file.write("begun\n")
    watchdog = importlib.import_module("autograder.judge.watchdog")
    watchdog.OWN_SECONDS, watchdog.GRACE_SECONDS = 0.5, 0.5
    return grade(job)


def wall(job: Job) -> int:
    """The soft limit of a judge's data."""
    return resource.getrlimit(resource.RLIMIT_DATA)[0]


JUDGE_MB = 600  # of a judge process, torch included, whatever it is sent


def measured(job: Job) -> tuple[Report, float]:
    """A report, and the most memory this judge held while it was made, in MB."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    report = grade(job)
    return report, peak()


def peak() -> float:
    """The most memory this process held, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[0]) / 1024


def weighed(course: Course, job: Order) -> Rendered:
    """Grades and renders as ever; how much memory this judge held lies in the course's folder."""
    made = grade_and_render(job)
    with (course.root / "peaks").open("a") as file:
        file.write(f"{job.submission.student} {peak():.0f}\n")
    return made


def peaks(course: Course) -> dict[str, float]:
    """What `weighed` wrote down, MB by student."""
    return {who: float(mb) for who, mb in (line.split() for line in (course.root / "peaks").read_text().splitlines())}
