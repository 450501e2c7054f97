"""Whatever is wrong ends in a sentence and an exit code, never a traceback, and nothing is half-written."""

from __future__ import annotations

import errno
import io
import json
import os
import sqlite3
import stat
import zipfile

import docker.errors
import pytest

from autograder.grading import batch
from autograder.grading.alone import alone
from autograder.records.record import Record
from autograder.report import Report
from tests.autograder.commands.saying import export, in_this_process, refused, rewrite
from tests.autograder.course_factory import NAME, blank_bytes
from tests.autograder.providers import leftovers

# --- what is handed in


def hostile_zip(name: str, mode: int = 0o100644) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        file.writestr(info, "/etc/passwd")
    return buffer.getvalue()


NOTEBOOK_4 = blank_bytes([])
BAD: dict[str, tuple[str, bytes, str]] = {  # what it is -> file name, content, a word of the sentence
    "not a notebook": (f"{NAME}.ipynb", b"print('hello')\n", NAME),
    "an image": (f"{NAME}.ipynb", b"\x89PNG\r\n\x1a\n\0\0", NAME),
    "an empty file": (f"{NAME}.ipynb", b"", "empty"),
    "a list": (f"{NAME}.ipynb", b"[1, 2]", NAME),
    "nested deep": (f"{NAME}.ipynb", b"[" * 100_000, NAME),
    "a future format": (f"{NAME}.ipynb", NOTEBOOK_4.replace(b'"nbformat": 4', b'"nbformat": 99'), "99"),
    "no cells": (f"{NAME}.ipynb", b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', NAME),
    "no notebook": ("answers.py", b"x = 1\n", "no notebook"),
    "a zip with ..": ("handed-in.zip", hostile_zip(f"../../{NAME}.ipynb"), "out of the zip"),
    "a zip with an absolute name": ("handed-in.zip", hostile_zip(f"/tmp/{NAME}.ipynb"), "absolute name"),
    "a zip with a link": ("handed-in.zip", hostile_zip(f"{NAME}.ipynb", stat.S_IFLNK | 0o777), "link"),
    "a broken zip": ("handed-in.zip", b"PK\x03\x04 and no more", "handed-in.zip"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_submission_is_a_sentence_and_the_batch_goes_on(invoke, provider, course, notebook, what):
    name, content, word = BAD[what]
    for student, file, data in (("ada", f"{NAME}.ipynb", notebook), ("bob", name, content)):
        folder = course.submitted_dir / student / NAME
        folder.mkdir(parents=True)
        (folder / file).write_bytes(data)
    said = invoke("grade", NAME, "-c", course.root, "--sandbox", "process", "--json")
    assert said.code == 1
    graded = json.loads(said.out)
    assert [row["student"] for row in graded["graded"]] == ["ada"]
    sentence = graded["rejected"]["bob"]
    assert word in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert sorted(path.name for path in (course.root / "reports" / NAME).glob("*.json")) == ["ada.json"]
    assert leftovers(course.root) == []


def test_a_notebook_of_two_hundred_megabytes_is_refused_unread(invoke, provider, course, notebook):
    for student in ("ada", "bob"):
        folder = course.submitted_dir / student / NAME
        folder.mkdir(parents=True)
        (folder / f"{NAME}.ipynb").write_bytes(notebook)
    os.truncate(course.submitted_dir / "bob" / NAME / f"{NAME}.ipynb", 200 << 20)
    said = invoke("grade", NAME, "-c", course.root, "--sandbox", "process", "--json")
    assert said.code == 1
    assert "MB" in json.loads(said.out)["rejected"]["bob"]


def test_two_notebooks_a_renamed_one_and_an_unknown_student(invoke, provider, course, notebook, tmp_path):
    source = tmp_path / "handed-in"
    for path in ("ada/mine.ipynb", "bob/one.ipynb", "bob/two.ipynb", f"mallory/{NAME}.ipynb"):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(notebook if "two" not in path else notebook.replace(b"double", b"dubble"))
    said = invoke("grade", NAME, source, "-c", course.root, "--sandbox", "process", "--json")
    assert said.code == 1
    graded = json.loads(said.out)
    assert [(row["student"], row["points"]) for row in graded["graded"]] == [("ada", 3.0)]
    assert "2 notebooks" in graded["rejected"]["bob"]
    assert any("mallory" in sentence for sentence in graded["rejected"].values())
    assert "mine.ipynb" in Report.load(course.report_path(NAME, "ada")).notes[0]
    assert {path.name for path in course.submitted_dir.iterdir()} == {"ada"}


def test_collecting_names_what_it_refuses_and_keeps_the_rest(invoke, course, notebook, tmp_path):
    said = invoke("collect", NAME, export(tmp_path, ada=notebook, bob=b"", zoe=notebook), "-c", course.root)
    assert (said.code, said.out) == (1, "")
    assert "1 submission of hw0 lies under" in said.err
    assert "Rejected: bob: " in said.err
    assert "Rejected: `zoe`: no student" in said.err
    refused(invoke("collect", NAME, tmp_path / "nowhere.zip", "-c", course.root), "nowhere.zip", "does not exist")


def test_a_source_without_a_hand_in_is_a_sentence_and_what_was_collected_stays(invoke, course, notebook, tmp_path):
    invoke("collect", NAME, export(tmp_path, ada=notebook), "-c", course.root)
    (tmp_path / "empty").mkdir()
    refused(invoke("collect", NAME, tmp_path / "empty", "-c", course.root), "empty holds nothing", "no zip")
    assert {path.name for path in course.submitted_dir.iterdir()} == {"ada"}


def test_scores_writes_nothing_while_another_grader_is_at_work(invoke, repository, course):
    with Record(course.root, NAME) as record:
        record.put_homework(repository.load())
    with alone(course):
        said = invoke("scores", "-c", course.root)
    assert (said.code, said.out) == (2, "")
    assert "another grader is at work" in said.err
    assert not course.scores_path.exists()


# --- an instructor's mistakes


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("assignments/hw0/assignment.yaml", "title:", "titel:", ("assignment.yaml", "line 2", "titel")),
        ("assignments/hw0/assignment.yaml", "  cell_seconds: 10", "  cell_seconds: ten", ("line 5", "cell_seconds")),
        ("assignments/hw0/assignment.yaml", "points: 4", "points: 4: 5", ("line 3",)),
        ("assignments/hw0/assignment.yaml", "points: 4", "points: 5", ("add up to 4 points", "says 5")),
        ("solutions/hw0/checks.py", "points=1.5", "points=1.25", ("`double` carry 1.75 points", "the cell has 2")),
        ("solutions/hw0/checks.py", '"double", points', '"dubble", points', ("checks.py, line 7", "`dubble`")),
        ("solutions/hw0/checks.py", '"line", points=0.6', '"why", points=0.6', ("`why`, which a human grades",)),
        ("solutions/hw0/checks.py", "import torch\n", "import torch as\n", ("checks.py, line 2",)),
        ("assignments/hw0/hw0.ipynb", '"nbformat": 4', '"nbformat": "x"', ("hw0.ipynb",)),
    ],
)
def test_a_broken_assignment_is_a_sentence_with_its_place(
    invoke, provider, repository, course, notebook, tmp_path, file, old, new, words
):
    rewrite(repository.root / file, old, new)
    grade = ("grade", NAME, export(tmp_path, ada=notebook), "-c", course.root, "--sandbox", "process")
    refused(invoke(*grade), *words)
    assert not (course.root / "reports").exists()


def test_checks_that_do_not_import_are_a_sentence(invoke, provider, repository, course, notebook, tmp_path):
    rewrite(repository.solutions / NAME / "checks.py", "import torch\n", "import torch, nowhere_at_all\n")
    grade = ("grade", NAME, export(tmp_path, ada=notebook), "-c", course.root, "--sandbox", "process")
    refused(invoke(*grade), "checks.py", "nowhere_at_all")
    assert not (course.root / "reports").exists()


def test_a_course_that_is_not_one_is_a_sentence(invoke, course, repository, tmp_path, monkeypatch):
    refused(invoke("grade", NAME, "-c", tmp_path), "no course folder")
    refused(invoke("grade", "hw9", "-c", course.root), "no assignment `hw9`", "found: hw0")
    refused(invoke("grade", "../hw0", "-c", course.root), "no name of an assignment")
    refused(invoke("grade", NAME, "-c", course.root, "--sandbox", "process"), "no submission of hw0")
    refused(invoke("show", NAME, "-c", course.root), "nothing of hw0 is graded yet")
    refused(invoke("show", NAME, "ada", "-c", course.root), "nothing of hw0 is known of ada", "grade it first")
    refused(invoke("scores", "-c", course.root), "nothing is graded yet")
    folders = ("--assignments", repository.assignments, "--solutions", repository.solutions)
    refused(invoke("init", course.root, *folders), "exists already")
    monkeypatch.chdir(course.root)
    refused(invoke("init", tmp_path / "new"), "no folder assignments")
    (course.root / "course.yaml").write_text("name: x\nassignments: a\nsolution: b\n")
    refused(invoke("grade", NAME, "-c", course.root), "course.yaml", "line 3", "solution")


# --- the machine


def test_without_an_engine_docker_is_a_sentence_and_nothing_takes_its_place(invoke, provider, handed_in, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    said = invoke("grade", NAME, "-c", handed_in.root, "--sandbox", "docker")
    refused(said, "no container engine answers", "/nonexistent/docker.sock", "--sandbox process")
    assert not (handed_in.root / "reports").exists()
    refused(invoke("grade", NAME, "-c", handed_in.root, "--json"), "no container engine answers")
    named = invoke("grade", NAME, "-c", handed_in.root, "--sandbox", "process", "--json")
    assert json.loads(named.out)["sandbox"] == "process"
    refused(invoke("image", "build"), "no container engine answers")


def test_without_an_image_the_command_that_builds_it_is_named(invoke, handed_in, monkeypatch):
    class Engine:
        """One that has no image."""

        def __enter__(self):
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def close(self) -> None:
            pass

        def containers(self, **options: object) -> list[object]:
            return []

        def inspect_image(self, tag: str) -> None:
            raise docker.errors.ImageNotFound("no such image")

    for module in ("docker", "image"):
        monkeypatch.setattr(f"autograder.sandbox.{module}.connect", Engine)
    monkeypatch.setattr(batch, "run_jobs", in_this_process)
    refused(invoke("grade", NAME, "-c", handed_in.root, "--sandbox", "docker"), "autograder image build")
    assert not (handed_in.root / "reports").exists()


def test_a_cuda_that_is_none_is_refused_before_anything_is_built(invoke, tmp_path):
    refused(invoke("image", "build", "-c", tmp_path, "--cuda", "12.6"), "no build of torch; name one such as cu126")
    options = ("--cuda", "cu126", "--wheels", tmp_path)
    refused(invoke("image", "build", "-c", tmp_path, *options), f"there are no wheels in {tmp_path}")


def test_an_engines_name_of_a_gpu_is_refused_for_processes(invoke, handed_in, monkeypatch):
    monkeypatch.setattr(batch, "run_jobs", in_this_process)
    name = "nvidia.com/gpu=0"
    refused(invoke("grade", NAME, "-c", handed_in.root, "--sandbox", "process", "--gpus", name), "takes a device id")


def test_a_full_disk_is_a_sentence_and_nothing_is_half_written(invoke, provider, handed_in, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("autograder.report.os.fsync", full)
    refused(invoke("grade", NAME, "-c", handed_in.root, "--sandbox", "process"), "No space left on device")
    assert not list((handed_in.root / "reports").rglob("*.json"))
    assert leftovers(handed_in.root) == []


def test_a_locked_gradebook_is_a_sentence(invoke, provider, handed_in, monkeypatch):
    assert invoke("grade", NAME, "-c", handed_in.root, "--sandbox", "process").code == 0
    monkeypatch.setattr("autograder.records.gradebook.database.WAIT_SECONDS", 0.2)
    connection = sqlite3.connect(handed_in.root / "gradebook.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    refused(invoke("grade", NAME, "-c", handed_in.root, "--sandbox", "process"), "in use by another program")
    connection.close()


def test_a_file_that_is_no_gradebook_is_a_sentence(invoke, provider, handed_in):
    (handed_in.root / "gradebook.db").write_text("this is no database, " * 100)
    refused(invoke("grade", NAME, "-c", handed_in.root, "--sandbox", "process"), "gradebook.db")


def test_a_folder_in_the_place_of_a_file_is_a_sentence(invoke, provider, handed_in):
    handed_in.scores_path.mkdir()
    refused(invoke("grade", NAME, "-c", handed_in.root, "--sandbox", "process"), "scores.csv")
    assert leftovers(handed_in.root) == []
