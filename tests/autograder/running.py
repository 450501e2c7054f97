"""The `autograder` command in a process of its own, and what it leaves behind, for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nbformat import NotebookNode

from autograder.course.course import Course, init_course
from autograder.submissions.person import Person
from tests.autograder.course_factory import NAME, answered, make_repository, to_bytes

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 600.0  # seconds a test waits for what must happen; only a test that fails waits that long


def start(*arguments: object, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a command, in a session of its own as a terminal would."""
    return subprocess.Popen(
        [sys.executable, "-m", "autograder", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def descendants(pid: int) -> set[int]:
    """Everything a process started that still runs, as far as no link between them has died."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (path / "stat").read_text().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(path.name)] = int(parent)
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pids: set[int]) -> set[int]:
    """Those of the processes that still run."""
    found = set()
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                found.add(pid)
        except OSError:
            continue
    return found


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE, what: Callable[[], object] = str) -> None:
    """Wait for something to be true. Raises AssertionError if it does not become so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen: {what()}"
        time.sleep(0.02)


SLEEPER = {"double-answer": "import time\ntime.sleep(8)\ndef double(x): return 2 * x\n"}


def class_with_sleepers(folder: Path) -> tuple[Course, NotebookNode]:
    """A course in which Ada is graded at once and Bob and Cleo take long; and the template."""
    repository = make_repository(folder)
    students = ("ada", "bob", "cleo")
    folders = {"assignments": repository.assignments, "solutions": repository.solutions}
    course = init_course(folder / "course", **folders, students=[Person(id=student) for student in students])
    template = repository.load().template
    for student in students:
        path = course.submitted_dir / student / NAME / f"{NAME}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_bytes(to_bytes(answered(template, None if student == "ada" else SLEEPER)))
    return course, template


def stop_when_one_is_graded(grader: subprocess.Popen[str], course: Course, signum: int) -> set[int]:
    """Stop a grader of `class_with_sleepers` as a terminal or the system does; the processes it had, all ended."""
    wait_until(lambda: grader.poll() is not None or course.report_path(NAME, "ada").exists())
    wait_until(lambda: grader.poll() is not None or len(descendants(grader.pid)) >= 6)
    assert grader.poll() is None, grader.communicate()
    started = descendants(grader.pid)
    os.killpg(grader.pid, signum)
    said, told = grader.communicate(timeout=PATIENCE)
    assert said == ""
    if signum == signal.SIGINT:
        assert grader.returncode == 130, told
        assert "start the same command again" in told
        assert "Traceback" not in told
    wait_until(lambda: not alive(started))
    return started
