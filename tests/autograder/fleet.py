"""A cluster of real processes on this machine, for tests: a scheduler, workers, and a class to grade with them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from autograder.course.course import Course, load_course
from autograder.records.gradebook import dump
from autograder.records.record import Record
from tests.autograder.course_factory import ANSWERS, NAME
from tests.autograder.running import PATIENCE, ROOT, descendants, wait_until

PROCESS = ("--sandbox", "process", "--no-walls-as-root")
SLOW = ANSWERS | {"double-answer": "import time\ntime.sleep(0.7)\ndef double(x):\n    return 2 * x\n"}
WRONG = ANSWERS | {"double-answer": "def double(x):\n    return x * 3\n"}
CLASS: Mapping[str, Mapping[str, str]] = {"ada": ANSWERS, "bob": WRONG, "cleo": SLOW, "dora": {}}
PLACE = re.compile(r"0x[0-9a-f]+")  # in memory
TIMES = re.compile(r"\b[\d.]+ (?:m?s|min)\b|\d+ \w+ 20\d\d, \d\d:\d\d UTC")
KEPT = ("who", "sha", "final", "infrastructure", "sandbox", "basis", "marks", "answered", "answers", "rejected")


class Fleet:
    """A scheduler and workers, encrypted. A context manager; nothing of it is left at its end.

    Args:
        folder: for certificates and what the processes say.
    """

    def __init__(self, folder: Path, workers: int = 2) -> None:
        self.folder, self.certificates = folder, folder / "certificates"
        self.temporary = Path(tempfile.mkdtemp(prefix="fleet-", dir="/tmp"))  # short: sockets lie there
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"tls://127.0.0.1:{self.port}"
        self._count = workers
        self.workers: list[subprocess.Popen[bytes]] = []
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Fleet:
        assert self.start("cluster", "init", self.certificates).wait(PATIENCE) == 0
        self.start_scheduler()
        self.workers = [self.start_worker(number) for number in range(self._count)]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:  # those that ended are not asked again
            process.send_signal(signal.SIGTERM)
        for process in self._started:
            process.wait(PATIENCE)
        shutil.rmtree(self.temporary, ignore_errors=True)

    def start(
        self,
        *arguments: object,
        said: str = "said",
        path: str = "",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> subprocess.Popen[bytes]:
        """Start a command where no homework lies; what it says is appended to a file.

        Args:
            path: searched for packages before all else.
        """
        own = {"PYTHONPATH": f"{path}:{ROOT}", "OMP_NUM_THREADS": "1", "TMPDIR": str(self.temporary)}
        with (self.folder / said).open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "autograder", *map(str, arguments)],
                cwd=self.folder,
                env={**os.environ, **own, **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def start_scheduler(self) -> None:
        """At the same address as ever."""
        where = ("--host", "127.0.0.1", "--port", self.port, "--certificates", self.certificates)
        self.scheduler = self.start("cluster", "scheduler", *where, said="scheduler")

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        wait_until(listens, what=lambda: self.said("scheduler"))

    def start_worker(self, number: int, path: str = "") -> subprocess.Popen[bytes]:
        """One with one place."""
        options = ("--certificates", self.certificates, *PROCESS, "--jobs", 1)
        return self.start("worker", self.address, *options, said=f"worker-{number}", path=path)

    def grade(self, course: Course, *more: object) -> subprocess.Popen[bytes]:
        """Start grading a class here."""
        options = ("--course", course.root, *PROCESS, "--cluster", self.address, "--certificates", self.certificates)
        return self.start("grade", NAME, *options, *more, said="grade")

    def said(self, what: str) -> str:
        """What a process said."""
        return (self.folder / what).read_text(errors="replace")

    def judges(self) -> list[int]:
        """Judge processes of all workers: those that the server forks, which is itself forked from nothing."""
        return [pid for worker in self.workers for pid in descendants(worker.pid) if is_judge(pid)]


def is_judge(pid: int) -> bool:
    """True if this is a fork of a server of forks."""
    try:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        return all(b"forkserver" in Path(f"/proc/{p}/cmdline").read_bytes() for p in (pid, parent))
    except OSError:
        return False


def timeless(course: Course) -> dict[str, object]:
    """All that grading left in a course folder, times aside."""
    course = load_course(course.root)
    found: dict[str, object] = {"gradebook": dump(course.gradebook_url), "scores": course.scores_path.read_text()}
    for path in sorted(course.reports_dir(NAME).rglob("*.json")):
        data = json.loads(PLACE.sub("…", path.read_text()))
        found[str(path.relative_to(course.root))] = _without(data, {"seconds", "started", "timings"})
    for path in sorted(course.feedback_dir(NAME).glob("*.html")):
        text = path.read_text().partition(" of work in all")[0]  # of a class: below are only times, the longest first
        found[str(path.relative_to(course.root))] = TIMES.sub("…", text)
    for path in sorted(course.autograded_dir.rglob("*.ipynb")):
        found[str(path.relative_to(course.root))] = TIMES.sub("…", path.read_text())
    with Record(course.root, NAME) as record:
        found |= {f"state of {s.who}": {name: getattr(s, name) for name in KEPT} for s in record.states()}
    return found


def _without(data: object, names: set[str]) -> object:
    if isinstance(data, dict):
        return {key: _without(value, names) for key, value in data.items() if key not in names}
    return [_without(value, names) for value in data] if isinstance(data, list) else data


def copy_of(course: Course, folder: Path) -> Course:
    """The same course before anything was graded, beside it."""
    folder.mkdir()
    for name in ("course.yaml", "students.csv"):
        shutil.copy2(course.root / name, folder / name)
    shutil.copytree(course.submitted_dir, folder / "submitted")
    return load_course(folder)
