"""A class under load, one in twenty of it hostile, in containers, by this machine alone and by a cluster on it.

    python -m benchmarks.load [1000] [--seconds 1] [--only local]

A homework of two graded cells is handed in by as many students. Most of them compute for a second before they define
their answer, some wrongly, some not at all; of twenty one is hostile, in turn: endless, forking, holding ever more
memory, printing for ever. They are graded by the command a TA types, as many at a time as there are cores: by judge
processes of this machine, and by an encrypted cluster of a scheduler and two workers that share the cores.

Prints for both: whether each has one report, one row in the scores, the marks that its kind earns and none a fault of
the machine; wall time × cores ÷ work, where work is what the honest ones compute, measured bare beside it, and what
the hostile ones were charged; the most memory (resident, what is shared counts in each) of the process that serves the
class and of each judge; and how long the slowest first verdict took, of what is not hostile from the begin of its own
grading, and of all from the begin of the class. Needs a container engine and the built image.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median

from autograder.course.course import Course, init_course, load_course
from autograder.report import Report
from autograder.sandbox import image
from autograder.submissions.person import Person
from benchmarks.overhead import WORK, bare_seconds
from tests.autograder.course_factory import ANSWERS, NAME, answered, make_repository, to_bytes
from tests.autograder.fleet import Fleet, copy_of, is_judge
from tests.autograder.running import descendants

CORES = len(os.sched_getaffinity(0))
EACH = 20  # one of so many is hostile
LOOKS = 0.5  # seconds between two looks at memory
BUDGETS = {"cell_seconds": 3, "check_seconds": 3, "submission_seconds": 12, "memory_mb": 512}
HOSTILE = {
    "endless": "while True:\n    pass\n",
    "forking": "import os\nwhile True:\n    os.fork()\n",
    "memory": "held = []\nwhile True:\n    held.append(bytearray(1 << 24))\n",
    "output": "while True:\n    print('x' * 10000)\n",
}
WRONG = "def double(x):\n    return 3 * x\n"
POINTS = {"right": 3.0, "wrong": 1.0, "blank": 0.0} | dict.fromkeys(HOSTILE, 1.0)  # the other cell is theirs


def kind_of(number: int) -> str:
    """What the student of this number hands in."""
    if number % EACH == EACH - 1:
        return list(HOSTILE)[number // EACH % len(HOSTILE)]
    return ("wrong", "blank")[number % 10 - 1] if number % 10 in (1, 2) else "right"


def answers_of(kind: str, work: str) -> dict[str, str]:
    """The cells that are filled."""
    if kind == "blank":
        return {}
    first = HOSTILE.get(kind) or work + (WRONG if kind == "wrong" else ANSWERS["double-answer"])
    return ANSWERS | {"double-answer": first}


def handed_in(folder: Path, count: int, work: str) -> Course:
    """A course in which everybody has handed in."""
    repository = make_repository(folder)
    settings = repository.files.config
    text = settings.read_text()
    for name, value in BUDGETS.items():
        text = re.sub(rf"{name}: \d+", f"{name}: {value}", text)
    settings.write_text(text)
    names = [f"s{number:05}" for number in range(count)]
    course = init_course(
        folder / "course",
        assignments=repository.assignments,
        solutions=repository.solutions,
        students=[Person(id=name) for name in names],
    )
    template = repository.load().template
    made = {kind: to_bytes(answered(template, answers_of(kind, work))) for kind in POINTS}
    for number, name in enumerate(names):
        place = course.submitted_dir / name / NAME
        place.mkdir(parents=True)
        (place / f"{NAME}.ipynb").write_bytes(made[kind_of(number)])
    return course


@dataclass
class Memory:
    """The most that processes held, MB, looked at until it is stopped."""

    client: int
    roots: list[int]  # whose descendants judges are
    served: float = 0.0
    judges: dict[int, float] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        """Runs in a thread."""
        while not self.stopped.wait(LOOKS):
            self.served = max(self.served, most_held(self.client))
            for pid in {pid for root in self.roots for pid in descendants(root)}:
                if is_judge(pid) and (held := most_held(pid)):
                    self.judges[pid] = held


def most_held(pid: int) -> float:
    """The most memory that a process held so far, MB; 0 if it is gone."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def graded(command: subprocess.Popen[bytes], roots: list[int]) -> tuple[float, Memory]:
    """Seconds a grader takes, and what it and the judges held."""
    begin, memory = time.perf_counter(), Memory(command.pid, [command.pid, *roots])
    looking = threading.Thread(target=memory.look)
    looking.start()
    command.wait()
    memory.stopped.set()
    looking.join()
    return time.perf_counter() - begin, memory


def lost(course: Course, count: int) -> list[str]:
    """What is not as it should be, a sentence each."""
    there = {path.stem: Report.load(path) for path in course.reports_dir(NAME).glob("*.json")}
    with load_course(course.root).scores_path.open() as file:
        rows = Counter(row["student"] for row in csv.DictReader(file))
    found = []
    for number in range(count):
        name, kind = f"s{number:05}", kind_of(number)
        report = there.get(name)
        if report is None or rows[name] != 1:
            found.append(f"{name} ({kind}) has {'a' if report else 'no'} report and {rows[name]} rows")
        elif report.infrastructure:
            found.append(f"{name} ({kind}): the machine failed")
        elif report.earned != POINTS[kind]:
            found.append(f"{name} ({kind}) has {report.earned:g} points instead of {POINTS[kind]:g}")
    return found


def say(name: str, course: Course, count: int, seconds: float, taken: tuple[float, Memory], begun: float) -> bool:
    """Print the figures of one executor; True if nothing was lost."""
    wall, memory = taken
    missing = lost(course, count)
    kinds = {f"s{number:05}": kind_of(number) for number in range(count)}
    reports = [Report.load(path) for path in sorted(course.reports_dir(NAME).glob("*.json"))]
    hostile = [report for report in reports if kinds[report.student] in HOSTILE]
    honest = [report for report in reports if kinds[report.student] not in HOSTILE]
    computed = seconds * sum(kind in ("right", "wrong") for kind in kinds.values())
    work = computed + sum(report.timings["charged"] for report in hostile)
    own = max((report.timings["first_result"] for report in honest), default=float("nan"))
    waited = max(
        (datetime.fromisoformat(r.started).timestamp() + r.timings["first_result"] - begun for r in reports),
        default=float("nan"),
    )
    held = sorted(memory.judges.values()) or [float("nan")]
    print(f"{name}: {count} submissions, {len(hostile)} hostile: {'nothing lost' if not missing else 'LOST'}")
    print("".join(f"    {line}\n" for line in missing), end="")
    print(f"    {wall:.0f} s, {work:.0f} s of work: wall × {CORES} cores ÷ work {wall * CORES / work:.2f}")
    judges = f"{len(held)} judges {median(held):.0f} MB, at most {held[-1]:.0f} MB"
    print(f"    memory: client {memory.served:.0f} MB, {judges}")
    print(f"    slowest first verdict: {own:.1f} s after its own begin, {waited:.0f} s after the class's", flush=True)
    return not missing


def main() -> None:
    """Grade the class twice; the exit code says whether something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, default=1000, metavar="submissions")
    parser.add_argument("--seconds", type=float, default=1.0, help="what an honest one computes")
    parser.add_argument("--only", choices=("local", "dask"))
    asked = parser.parse_args()
    if asked.count < 1:
        parser.error("a class has at least one submission")
    loops = round(asked.seconds * 2_000_000 / bare_seconds(2_000_000))
    image.build()
    whole = True
    with tempfile.TemporaryDirectory() as place:
        course = handed_in(Path(place) / "class", asked.count, WORK.format(loops=loops))
        with Fleet(Path(place), workers=0) as fleet:
            for name in (asked.only,) if asked.only else ("local", "dask"):
                copy = copy_of(course, course.root.with_name(name))
                seconds = median(bare_seconds(loops) for _ in range(5))
                reach: tuple[object, ...] = ("--jobs", CORES)
                if name == "dask":
                    each = max(1, CORES // 2)
                    own = ("--certificates", fleet.certificates)
                    fleet.workers = [
                        fleet.start("worker", fleet.address, *own, "--jobs", each, said=f"worker-{n}")
                        for n in range(CORES // each)
                    ]
                    reach = ("--cluster", fleet.address, *own)
                begun = time.time()
                command = fleet.start("grade", NAME, "--course", copy.root, *reach, said=name)
                taken = graded(command, [worker.pid for worker in fleet.workers])
                if command.returncode not in (0, 1):
                    sys.exit(f"{name}: the grader ended with {command.returncode}\n{fleet.said(name)[-2000:]}")
                whole &= say(name, copy, asked.count, seconds, taken, begun)
    sys.exit(0 if whole else 1)


if __name__ == "__main__":
    main()
