"""A class on a cluster of real processes: the same marks as here, whatever ends meanwhile, and nothing is left."""

from __future__ import annotations

import random
import signal
import socket
import ssl
from collections.abc import Iterator

import pytest

from autograder.course.course import Course
from tests.autograder.fleet import CLASS, Fleet, copy_of, timeless
from tests.autograder.grading.test_batch import make_course
from tests.autograder.running import PATIENCE, wait_until
from tests.cluster_kills import KINDS, differences, disturbed, graded_here


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet")) as made:
        yield made
        for worker in made.workers:
            worker.send_signal(signal.SIGTERM)
        for number, worker in enumerate(made.workers):
            assert worker.wait(PATIENCE) == 0, made.said(f"worker-{number}")
        hidden = [path for path in made.temporary.rglob("*") if "hidden" in path.parts]
        assert hidden == [], "hidden files are removed at the end"


@pytest.fixture(scope="module")
def course(fleet) -> Course:
    return make_course(fleet.folder / "class", CLASS)


@pytest.fixture(scope="module")
def expected(fleet, course) -> dict[str, object]:
    """What grading on this machine leaves."""
    found = graded_here(fleet, copy_of(course, course.root.with_name("here")))
    assert len(found) > 4 * len(CLASS)
    return found


def test_a_class_has_the_same_marks_reports_and_pages_from_a_cluster(fleet, course, expected):
    there = copy_of(course, course.root.with_name("there"))
    grader = fleet.grade(there)
    assert grader.wait(PATIENCE) == 0, fleet.said("grade")
    assert differences(expected, timeless(there)) == []
    assert not list(fleet.temporary.rglob("hidden")), "what was hidden is gone once the class is graded"


def test_ends_of_workers_judges_scheduler_and_grader_change_no_mark(fleet, course, expected):
    chance, ended = random.Random(13), list[str]()
    kinds = [*KINDS, "worker"]
    for number in range(len(kinds)):
        copy = copy_of(course, course.root.with_name(f"round-{number}"))
        ended += disturbed(fleet, copy, kinds, chance)
        assert differences(expected, timeless(copy)) == [], ended
        if not kinds:
            break
    assert ended == [*KINDS, "worker"]


def test_whoever_has_no_certificate_of_the_cluster_cannot_talk_to_it(fleet):
    context = ssl.create_default_context(cafile=fleet.certificates / "ca.pem")
    context.check_hostname = False

    def ask() -> bytes:
        with socket.create_connection(("127.0.0.1", fleet.port)) as raw, context.wrap_socket(raw) as channel:
            channel.sendall(bytes(64))
            return channel.recv(1)

    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask()
    stranger = fleet.folder / "stranger"
    assert fleet.start("cluster", "init", stranger).wait(PATIENCE) == 0
    options = ("--certificates", stranger, "--sandbox", "process", "--no-walls-as-root")
    worker = fleet.start("worker", fleet.address, *options, said="stranger.txt")
    assert worker.wait(PATIENCE) == 2
    assert f"no scheduler of yours answers at {fleet.address}" in fleet.said("stranger.txt")


def test_a_worker_that_would_grade_otherwise_leaves_with_a_sentence(fleet, course, tmp_path):
    other = tmp_path / "site" / "numpy-0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.1\n")
    worker = fleet.start_worker(9, path=str(other.parent))
    wait_until(lambda: "joined" in fleet.said("worker-9"), what=lambda: fleet.said("worker-9"))
    copy = copy_of(course, course.root.with_name("otherwise"))
    grader = fleet.grade(copy, "--student", "ada")
    assert worker.wait(PATIENCE) == 2
    assert "this machine would grade otherwise" in fleet.said("worker-9")
    assert "numpy is 0.1 here" in fleet.said("worker-9")
    assert grader.wait(PATIENCE) == 0
    assert "numpy is 0.1 here" in fleet.said("grade"), "and whoever grades is told"
