"""A worker whose engine dies while it grades: its submissions go to another, and no mark is lost with it."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.report import Report
from autograder.sandbox.engine import engine_socket
from tests.autograder.course_factory import NAME
from tests.autograder.fleet import CLASS, Fleet
from tests.autograder.grading.test_batch import make_course
from tests.autograder.running import PATIENCE, wait_until

POINTS = {"ada": 3.0, "bob": 1.0, "cleo": 3.0, "dora": 0.0}


class Engine:
    """Another socket of the engine, which can be told to die."""

    def __init__(self, path: Path) -> None:
        self.path, self.asked = path, 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def die(self) -> None:
        """Answer nobody any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                asker, _ = self._listener.accept()
                self.asked += 1
                real = socket.socket(socket.AF_UNIX)
                real.connect(engine_socket())
                self._open += [asker, real]
                threading.Thread(target=_between, args=(asker, real), daemon=True).start()


def _between(one: socket.socket, other: socket.socket) -> None:
    """Hand on what either says, until one has said all."""
    with contextlib.suppress(OSError), one, other:
        while True:
            for ready in select.select([one, other], [], [])[0]:
                if not (data := ready.recv(1 << 16)):
                    return
                (other if ready is one else one).sendall(data)


@pytest.fixture
def fleet(tmp_path, digest) -> Iterator[Fleet]:
    with Fleet(tmp_path, workers=0) as made:
        yield made


@pytest.mark.container
def test_what_a_worker_had_when_its_engine_died_is_graded_by_another(fleet, digest):
    course = make_course(fleet.folder / "class", CLASS)
    engine = Engine(fleet.temporary / "engine.sock")
    options = ("--certificates", fleet.certificates, "--jobs", 1)
    environment = {"DOCKER_HOST": f"unix://{engine.path}"}
    dying = fleet.start("worker", fleet.address, *options, said="dying", environment=environment)
    fleet.workers.append(dying)
    reach = ("--cluster", fleet.address, "--certificates", fleet.certificates)
    grader = fleet.start("grade", NAME, "--course", course.root, *reach, said="grade")
    wait_until(lambda: list(course.reports_dir(NAME).glob("*.json")), what=lambda: fleet.said("grade"))
    engine.die()
    wait_until(lambda: "no container engine answers" in fleet.said("dying"), what=lambda: fleet.said("dying"))
    wait_until(lambda: "no container engine answers" in fleet.said("grade"), what=lambda: fleet.said("grade"))
    fleet.workers.append(fleet.start("worker", fleet.address, *options, said="healthy"))
    assert grader.wait(PATIENCE) == 0, fleet.said("grade")
    reports = {who: Report.load(course.report_path(NAME, who)) for who in POINTS}
    assert {who: report.earned for who, report in reports.items()} == POINTS
    assert not any(report.infrastructure for report in reports.values())
    assert dying.poll() is None, "it waits for its engine"
