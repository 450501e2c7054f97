"""What grading costs beside the bare work, every figure against a peer in the same run.

    python -m benchmarks.overhead [--rounds 5] [--only ac] [--quick]

(a) a class of short jobs and a class of longer ones: wall time × cores ÷ bare work, for us and for a bare docker-py
    loop that starts one container per job, imports torch and does the work, with no checks, no hardening, no report;
(b) from an accepted submission to its first check result, with a warm container;
(c) a notebook that imports torch, graded by `nbgrader autograde` (no sandbox) and by us in containers, per submission;
(d) memory of a judge process and of an idle warm container.

Needs a container engine and the built image. Medians; run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
from rich.console import Console
from rich.progress import track

from autograder.authoring.release import release
from autograder.authoring.template import build_template, read_solution
from autograder.course.course import init_course
from autograder.grading.executor import run_jobs
from autograder.grading.local import Local
from autograder.homework.files import HomeworkFiles
from autograder.homework.ipynb import to_text
from autograder.judge.grade import grade
from autograder.judge.job import Job
from autograder.judge.providers import close_providers
from autograder.report import Report
from autograder.sandbox import Limits, image, open_provider
from autograder.submission import Submission
from autograder.submissions.person import Person

CORES = len(os.sched_getaffinity(0))
NAME = "bench"
WORK = "total = 0\nfor i in range({loops}):\n    total += i * i\n"
SOLUTION = """\
# %% nbgrader={"grade": false, "solution": false, "locked": true, "grade_id": "setup"}
import torch

# %% nbgrader={"grade": false, "solution": true, "grade_id": "answer"}
def double(x):
    ### BEGIN SOLUTION
    return x + x
    ### END SOLUTION

# %% nbgrader={"grade": true, "solution": false, "locked": true, "grade_id": "double", "points": 1}
# the graded cell
"""
CHECKS = '''\
import pytest
import torch

@pytest.mark.graded("double", points={points})
def test_{name}(student):
    """Doubling doubles."""
    assert torch.equal(student.double(torch.ones(3)), torch.full((3,), 2.0))
'''
YAML = f"name: {NAME}\ntitle: Benchmark\npoints: 1\n"


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of which the median is reported")
    parser.add_argument("--quick", action="store_true", help="small classes, one round: does it run?")
    parser.add_argument("--only", default="abcd", help="the letters of the figures to measure, as above")
    options = parser.parse_args()
    if unknown := set(options.only) - set("abcd"):
        parser.error(f"--only takes the letters a, b, c and d, not {', '.join(sorted(unknown))}")
    rounds = 1 if options.quick else options.rounds
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        console = Console(highlight=False)
        console.print(f"{CORES} cores, {rounds} rounds, medians (lowest to highest)")
        sizes = ((4, 1.0), (2, 2.0)) if options.quick else ((24, 2.0), (12, 10.0))
        for count, seconds in sizes if "a" in options.only else ():
            ours, peer, work = bench.throughput(count, seconds, rounds)
            console.print(f"(a) {count} submissions of {work:.2f} s: wall × cores ÷ bare work")
            console.print(f"    ours {spread(ours)}   bare docker-py loop {spread(peer)}")
        if "b" in options.only:
            console.print(f"(b) accepted to first check result, warm container: {spread(bench.latency(rounds * 4))} s")
        if "c" in options.only:
            count = 2 if options.quick else 8
            ours, peer = bench.against_nbgrader(count, rounds)
            ratio = statistics.median(peer) / statistics.median(ours)
            console.print(f"(c) seconds per submission, class of {count}: ours, --jobs 2, containers {spread(ours)}")
            console.print(f"    nbgrader autograde, no sandbox {spread(peer)}   nbgrader ÷ ours {ratio:.2f}")
        if "d" in options.only:
            judge, container = bench.memory()
            console.print(f"(d) memory: judge process {judge:.0f} MB, idle warm container {container:.0f} MB")


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


class Bench:
    """A homework of one cell, and classes that hand it in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.assignments, self.solutions = folder / "assignments", folder / "solutions"
        public, hidden = self.assignments / NAME, self.solutions / NAME
        public.mkdir(parents=True)
        hidden.mkdir(parents=True)
        source = hidden / f"{NAME}.py"
        source.write_text(SOLUTION)
        (public / "assignment.yaml").write_text(YAML)
        (public / "checks.py").write_text(CHECKS.format(points=0.25, name="public"))
        (hidden / "checks.py").write_text(CHECKS.format(points=0.75, name="hidden"))
        (public / f"{NAME}.ipynb").write_text(to_text(build_template(source)))
        self.answers = read_solution(source)
        self.image = image.build().digest

    def notebook(self, work: str) -> bytes:
        """The solution with some work in its answer cell."""
        cells = [cell.copy() for cell in self.answers.cells]
        cells[1]["source"] += "\n" + work
        return to_text(type(self.answers)({**self.answers, "cells": cells})).encode()

    def job(self, student: str, work: str = "", more: bool = False) -> Job:
        """One submission to grade in a container."""
        submission = Submission.of(student, self.notebook(work))
        return Job(HomeworkFiles(NAME, self.assignments, self.solutions), submission, "docker", more=more)

    def throughput(self, count: int, seconds: float, rounds: int) -> tuple[list[float], list[float], float]:
        """Ratios of us and of the bare loop, and the seconds one job takes alone."""
        loops = round(seconds * 2_000_000 / bare_seconds(2_000_000))
        work = WORK.format(loops=loops)
        ours, peer, alone = [], [], []
        for _ in track(range(rounds), f"{count} × {seconds} s", transient=True):
            alone.append(bare_seconds(loops))
            jobs = [self.job(f"s{number}", work) for number in range(count)]
            begin = time.perf_counter()
            results = [result for _, result in run_jobs(jobs, Local(CORES), grade)]
            ours.append((time.perf_counter() - begin) * CORES / (count * alone[-1]))
            assert all(isinstance(r, Report) and r.earned == 1 for r in results), results
            begin = time.perf_counter()
            self.bare_containers(count, work)
            peer.append((time.perf_counter() - begin) * CORES / (count * alone[-1]))
        return ours, peer, statistics.median(alone)

    def bare_containers(self, count: int, work: str) -> None:
        """The least that runs a job in a container of its own: create, start, wait, remove."""
        client = docker.from_env()

        def one(number: int) -> None:
            command = ["python3", "-I", "-c", f"import torch\n{work}"]
            container = client.containers.create(self.image, entrypoint=command, network_mode="none", nano_cpus=10**9)
            container.start()
            status = container.wait()["StatusCode"]
            container.remove(force=True)
            assert status == 0, f"the bare container ended with {status}"

        with ThreadPoolExecutor(CORES) as pool:
            list(pool.map(one, range(count)))

    def latency(self, rounds: int) -> list[float]:
        """Seconds from the call of `grade` to the first check result, after a first job that is not counted."""
        seconds = []
        for number in range(rounds + 1):
            report = grade(self.job(f"s{number}", more=True))
            time.sleep(3)  # the spare container finishes its import: this is what warm means
            if number:
                seconds.append(report.timings["first_result"])
        close_providers()
        return seconds

    def against_nbgrader(self, count: int, rounds: int) -> tuple[list[float], list[float]]:
        """Seconds per submission of a class: ours and nbgrader's, both as the command a TA types."""
        students = [f"s{number}" for number in range(count)]
        ours, peer = [], []
        for turn in track(range(rounds), "nbgrader", transient=True):
            root = self.folder / f"course{turn}"
            course = init_course(
                root, assignments=self.assignments, solutions=self.solutions, students=[Person(id=s) for s in students]
            )
            release(course, NAME)
            for student in students:
                for layout in (root, self.folder / f"nbgrader{turn}"):
                    target = layout / "submitted" / student / NAME
                    target.mkdir(parents=True)
                    (target / f"{NAME}.ipynb").write_bytes(self.notebook(""))
            grade_ours = [sys.executable, "-m", "autograder", "grade", NAME, "--course", str(root), "--jobs", "2"]
            ours.append(timed(lambda command=grade_ours, where=root: run(command, where)) / count)
            peer.append(self._nbgrader(self.folder / f"nbgrader{turn}") / count)
        return ours, peer

    def _nbgrader(self, root: Path) -> float:
        source = root / "source" / NAME / f"{NAME}.ipynb"
        source.parent.mkdir(parents=True)
        source.write_bytes(self.notebook(""))
        (root / "nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'bench'\n")
        nbgrader = [sys.executable, "-m", "nbgrader"]
        run([*nbgrader, "generate_assignment", NAME], root)
        return timed(lambda: run([*nbgrader, "autograde", NAME], root))

    def memory(self) -> tuple[float, float]:
        """Megabytes: proportional memory of a judge process after a job, and of a container that waits for one."""
        pids: set[int] = set()
        before = set(children())
        for _, result in run_jobs([self.job("s0")], Local(1), grade):
            assert isinstance(result, Report)
            pids = set(children()) - before
            judge = max(proportional_mb(pid) for pid in pids)
        with open_provider("docker", Limits()) as provider:
            sandbox = provider.acquire()
            usage = sandbox.usage()
            sandbox.kill()
        return judge, usage.peak_mb or float("nan")


def bare_seconds(loops: int) -> float:
    """The work alone, in a fresh Python, without its start."""
    program = f"import time\nt = time.perf_counter()\n{WORK.format(loops=loops)}print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout)


def timed(work: Callable[[], None]) -> float:
    """Seconds of wall time."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def run(command: list[str], folder: Path) -> None:
    """Run a command, and show what it said if it fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # nbgrader calls alembic by name
    settings = os.environ | {"PATH": path}
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")


def children() -> list[int]:
    """Processes below this one."""
    found, queue = [], [os.getpid()]
    while queue:
        for task in Path(f"/proc/{queue.pop()}/task").glob("*/children"):
            pids = [int(pid) for pid in task.read_text().split()]
            found += pids
            queue += pids
    return found


def proportional_mb(pid: int) -> float:
    """Proportional set size: shared pages count in parts."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
