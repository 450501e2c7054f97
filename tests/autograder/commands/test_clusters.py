"""A machine that cannot help says so before it joins, and the grader that finds no cluster before it grades."""

from __future__ import annotations

import socket
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from autograder.course.course import init_course
from autograder.grading import machine
from autograder.grading.cluster import reach
from autograder.grading.tls import make_certificates
from autograder.sandbox import engine, traces
from tests.autograder.commands.saying import refused
from tests.autograder.course_factory import NAME

ADDRESS = "tls://127.0.0.1:1"  # where nobody listens


@pytest.fixture
def certificates(tmp_path) -> Path:
    make_certificates(tmp_path / "cluster")
    return tmp_path / "cluster"


def test_a_worker_does_not_join_what_is_not_encrypted_or_without_a_certificate(invoke, tmp_path):
    refused(
        invoke("worker", "tcp://scheduler:8786"), "tcp://scheduler:8786 is not encrypted", "run code on every machine"
    )
    refused(
        invoke("worker", ADDRESS, "--certificates", tmp_path / "none"), "ca.pem is not there", "autograder cluster init"
    )
    refused(invoke("worker", "scheduler"), "should be an address such as tls://scheduler:8786")


def test_a_worker_without_an_engine_or_room_says_so_before_it_joins(invoke, certificates, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    command = ("worker", ADDRESS, "--certificates", certificates)
    refused(invoke(*command), "no container engine answers")
    processes = (*command, "--sandbox", "process", "--no-walls-as-root")
    with monkeypatch.context() as patch:
        patch.setattr(machine, "ROOM", 1 << 60)
        refused(invoke(*processes), "make room there")
    assert not (traces.root() / traces.session()).exists(), "nothing is left"


def test_a_worker_whose_image_is_of_another_version_says_what_to_build(invoke, certificates, monkeypatch):
    client = MagicMock()
    client.__enter__.return_value = client
    client.inspect_image.return_value = {"Id": "1", "Config": {"Labels": {"autograder.content": "another"}}}
    monkeypatch.setattr(engine, "connect", lambda: client)
    monkeypatch.setattr("autograder.sandbox.sweep", lambda: [])
    said = invoke("worker", ADDRESS, "--certificates", certificates)
    refused(said, "the sandbox image is of another version; run `autograder image build`")


def test_a_scheduler_at_a_port_that_is_taken_is_a_sentence(invoke, certificates):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = ("--host", "127.0.0.1", "--port", port, "--certificates", certificates)
        refused(invoke("cluster", "scheduler", *options), f"no scheduler can listen at 127.0.0.1:{port}")


def test_certificates_are_made_once(invoke, tmp_path):
    folder = tmp_path / "cluster"
    assert str(folder / "worker.pem") in invoke("cluster", "init", folder).out
    refused(invoke("cluster", "init", folder), f"{folder} exists and is not empty")


def test_the_cluster_of_the_settings_is_used_unless_another_or_this_machine_is_named(repository):
    folders = {"assignments": repository.assignments, "solutions": repository.solutions}
    course = init_course(repository.root / "there", **folders, settings={"cluster": {"address": ADDRESS}})
    make_certificates(course.root / "cluster")
    assert reach(course, None, None).address == ADDRESS
    assert reach(course, "tls://other:8786", None).address == "tls://other:8786"
    assert reach(course, "local", None) is None
    plain = init_course(repository.root / "plain", **folders)
    assert reach(plain, None, None) is None


def test_where_nobody_listens_nothing_is_graded(invoke, course, certificates, notebook, monkeypatch):
    monkeypatch.setattr("autograder.grading.dask.ANSWER", 0.5)
    place = course.submitted_dir / "ada" / NAME
    place.mkdir(parents=True)
    (place / f"{NAME}.ipynb").write_bytes(notebook)
    where = ("--cluster", ADDRESS, "--certificates", certificates)
    said = invoke("grade", NAME, "-c", course.root, "--sandbox", "process", "--no-walls-as-root", *where)
    refused(said, f"no scheduler of yours answers at {ADDRESS}", "--cluster local")
    assert not list(course.reports_dir(NAME).glob("*.json"))
