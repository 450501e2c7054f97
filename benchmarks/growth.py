"""What grading again costs where nothing changed, and where one student of many is new.

    python -m benchmarks.growth [100 1000 10000]

A class hands in homework 1 and is graded once (one submission is run, its report stands for all). Then the command
`grade` is run again as a TA types it: unchanged, and with one more hand-in. Printed are seconds of wall time, of
processor time, and the memory of the grading process; of the new one, what its own grading took is named apart.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from autograder.course.course import Course, init_course
from autograder.errors import SandboxWarning
from autograder.grading import batch
from autograder.grading.batch import Options, grade_course
from autograder.judge.grade import Job
from autograder.judge.providers import close_providers
from autograder.records.rendering import Rendered, grade_and_render
from autograder.report import Report
from autograder.submissions.person import Person

NAME = "hw1"
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Cost:
    """Of one command."""

    wall: float
    cpu: float
    megabytes: float


def main() -> None:
    """Print a line for each size of class."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="*", default=[100, 1_000, 10_000])
    os.environ["OMP_NUM_THREADS"] = "1"
    warnings.simplefilter("ignore", SandboxWarning)
    print("submissions   unchanged: wall s, processor s, MB   one new: wall s beside its own   MB", flush=True)
    for size in parser.parse_args().sizes:
        with tempfile.TemporaryDirectory() as folder:
            course = graded_class(Path(folder), size)
            grade_again(course)  # files are in the page cache from here on
            same = grade_again(course)
            hand_in(course, "zz-new", "# one more\n")
            new = grade_again(course)
            own = Report.load(course.report_path(NAME, "zz-new")).timings["total"]
            print(
                f"{size:11}   {same.wall:15.1f}, {same.cpu:11.1f}, {same.megabytes:4.0f}"
                f"   {new.wall - own:22.1f}   {new.megabytes:6.0f}",
                flush=True,
            )


def graded_class(folder: Path, size: int) -> Course:
    """A class that was graded: one submission is run, and its report stands for all of them."""
    names = [f"s{number:05}" for number in range(size)]
    places = {"assignments": ROOT / "assignments", "solutions": ROOT / "solutions"}
    people = [Person(id=name) for name in [*names, "zz-new"]]
    course = init_course(folder / "course", **places, students=people, settings={"sandbox": {"kind": "process"}})
    for name in names:
        hand_in(course, name)
    batch.run_jobs = _one_for_all  # type: ignore[assignment]
    grade_course(course, NAME, None, Options(sandbox="process", as_root=True))
    close_providers()
    return course


def hand_in(course: Course, student: str, more: str = "") -> None:
    """The template, as it was given out."""
    place = course.submitted_dir / student / NAME
    place.mkdir(parents=True)
    template = (ROOT / "assignments" / NAME / f"{NAME}.ipynb").read_text(encoding="utf-8")
    (place / f"{NAME}.ipynb").write_text(template.replace('"cells": [', f'"cells": [{_cell(more)}', 1))


def _cell(source: str) -> str:
    return f'{{"cell_type": "markdown", "metadata": {{}}, "source": "{source.strip()}"}}, ' if source else ""


def _one_for_all(
    jobs: list[Job], workers: int, work: Callable[[Job], Rendered], started: Callable[[str], None]
) -> Iterator[tuple[Job, Rendered]]:
    first: Rendered | None = None
    for job in jobs:
        if first is None:
            first = grade_and_render(work.args[0], job)  # type: ignore[attr-defined]
        report = first.report.model_copy(update={"student": job.submission.student})
        yield job, replace(first, report=report, text=report.text)


def grade_again(course: Course) -> Cost:
    """The command in a process of its own; memory is that of the largest of its processes."""
    command = [sys.executable, "-m", "autograder", "grade", NAME, "--course", str(course.root)]
    command += ["--sandbox", "process", "--no-walls-as-root", "--jobs", "1"]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode not in (0, 1):
        raise SystemExit(said)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, used.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
