"""A worker whose engine dies while it grades: its submissions go to another, and no mark is lost with it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.report import Report
from autograder.sandbox.engine import engine_socket
from tests.autograder.course_factory import NAME
from tests.autograder.fleet import CLASS, Fleet
from tests.autograder.grading.test_batch import make_course
from tests.autograder.relay import Relay
from tests.autograder.running import PATIENCE, wait_until

POINTS = {"ada": 3.0, "bob": 1.0, "cleo": 3.0, "dora": 0.0}


def engine_at(path: Path) -> Relay:
    """Another socket of the engine, which can be told to die."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))

    def reach() -> socket.socket:
        real = socket.socket(socket.AF_UNIX)
        real.connect(engine_socket())
        return real

    return Relay(listener, reach)


@pytest.fixture
def fleet(tmp_path, digest) -> Iterator[Fleet]:
    with Fleet(tmp_path, workers=0) as made:
        yield made


@pytest.mark.container
def test_what_a_worker_had_when_its_engine_died_is_graded_by_another(fleet, digest):
    course = make_course(fleet.folder / "class", CLASS)
    place = fleet.temporary / "engine.sock"
    engine = engine_at(place)
    options = ("--certificates", fleet.certificates, "--jobs", 1)
    environment = {"DOCKER_HOST": f"unix://{place}"}
    dying = fleet.start("worker", fleet.address, *options, said="dying", environment=environment)
    fleet.workers.append(dying)
    reach = ("--cluster", fleet.address, "--certificates", fleet.certificates)
    grader = fleet.start("grade", NAME, "--course", course.root, *reach, said="grade")
    wait_until(lambda: list(course.reports_dir(NAME).glob("*.json")), what=lambda: fleet.said("grade"))
    engine.close()
    place.unlink()
    wait_until(lambda: "no container engine answers" in fleet.said("dying"), what=lambda: fleet.said("dying"))
    wait_until(lambda: "no container engine answers" in fleet.said("grade"), what=lambda: fleet.said("grade"))
    fleet.workers.append(fleet.start("worker", fleet.address, *options, said="healthy"))
    assert grader.wait(PATIENCE) == 0, fleet.said("grade")
    reports = {who: Report.load(course.report_path(NAME, who)) for who in POINTS}
    assert {who: report.earned for who, report in reports.items()} == POINTS
    assert not any(report.infrastructure for report in reports.values())
    assert dying.poll() is None, "it waits for its engine"
