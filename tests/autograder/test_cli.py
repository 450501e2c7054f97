"""Every command: help with an example, a sentence and an exit code for whatever is wrong, data on stdout."""

from __future__ import annotations

import errno
import io
import json
import os
import shlex
import sqlite3
import stat
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest
import typer.main

import autograder.sandbox
from autograder import batch, cli
from autograder import grade as grading
from autograder.course import Course, Person, init_course
from autograder.gradebook import Book
from autograder.report import Report
from tests.autograder.course_factory import (
    ANSWERS,
    NAME,
    Repository,
    answered,
    blank_bytes,
    make_repository,
    to_bytes,
)
from tests.autograder.providers import ForkProvider, leftovers
from tests.autograder.running import start
from tests.autograder.test_audit import VARIANTS

WRONG = ANSWERS | {"double-answer": "def double(x):\n    return x * 3\n"}


class Said(SimpleNamespace):
    """What a command said: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Invoke = Callable[..., Said]


@pytest.fixture
def invoke(monkeypatch, capsys) -> Invoke:
    """Run a command in this process, as the entry point does."""

    def run(*arguments: object) -> Said:
        monkeypatch.setattr("sys.argv", ["autograder", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        capsys.readouterr()
        try:
            cli.main()
            code: object = 0
        except SystemExit as end:
            code = end.code or 0
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Said(code=code, out=said.out, err=said.err)

    return run


@pytest.fixture
def provider(monkeypatch) -> Iterator[ForkProvider]:
    """Submissions run in forked workers, one after the other."""
    source = ForkProvider()
    monkeypatch.setattr(grading, "_provider", lambda *arguments: source)
    monkeypatch.setattr(autograder.sandbox, "open_provider", lambda *arguments, **options: source)
    monkeypatch.setattr(batch, "run_jobs", in_this_process)
    yield source
    source.close()


def in_this_process(jobs, workers, work, started):
    return ((job, work(job)) for job in jobs)


@pytest.fixture
def repository(tmp_path) -> Repository:
    return make_repository(tmp_path)


@pytest.fixture
def course(repository) -> Course:
    students = [Person(id=student) for student in ("ada", "bob", "cleo")]
    folders = {"assignments": repository.assignments, "solutions": repository.solutions}
    return init_course(repository.root / "course", **folders, students=students)


@pytest.fixture
def notebook(repository) -> bytes:
    return to_bytes(answered(repository.load().template))


def refused(said: Said, *words: str, code: int = 2) -> None:
    """A sentence at the end of stderr, nothing on stdout."""
    assert (said.code, said.out) == (code, "")
    before, _, sentence = said.err.partition("autograder: ")
    assert before == "" or before.endswith("\n")
    for word in words:
        assert word in sentence


def commands() -> list[tuple[str, ...]]:
    def below(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for name, sub in getattr(command, "commands", {}).items():
            yield from below(sub, (*path, name)) if hasattr(sub, "commands") else [(*path, name)]

    return list(below(typer.main.get_command(cli.app), ()))


# --- help


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_has_help_with_an_example_of_itself(invoke, path):
    said = invoke(*path, "--help")
    assert (said.code, said.err) == (0, "")
    assert f"Example: autograder {' '.join(path)}" in said.out.replace("`", "")


def test_examples_name_only_options_that_exist(invoke):
    for path in commands():
        said = invoke(*path, "--help").out
        line = next(line for line in said.splitlines() if "Example:" in line)
        words = shlex.split(line.split("autograder", 1)[1].replace("`", ""))
        for word in words:
            assert not word.startswith("-") or said.count(word) > 1, (path, word)


def test_there_are_the_commands_of_each_user(invoke):
    named = {" ".join(path) for path in commands()}
    assert named >= {"check", "collect", "grade", "show", "scores", "doctor", "image build", "init", "release", "audit"}
    said = invoke("--help")
    assert all(f" {name.split()[0]} " in said.out for name in named)


@pytest.mark.parametrize(
    "arguments", [("grade",), ("grade", NAME, "--jobs", "0"), ("grade", NAME, "--sandbox", "vm"), ("nothing",)]
)
def test_wrong_use_is_exit_code_2(invoke, arguments):
    said = invoke(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err


# --- a student


@pytest.fixture
def student_folder(repository, tmp_path, notebook) -> Path:
    """What a student has: the notebook and the public checks."""
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "checks.py").write_bytes((repository.assignments / NAME / "checks.py").read_bytes())
    (folder / f"{NAME}.ipynb").write_bytes(notebook)
    return folder


def test_a_student_checks_a_notebook(invoke, provider, student_folder):
    said = invoke("check", student_folder / f"{NAME}.ipynb")
    assert said.code == 0
    assert "passed  Doubling 1 gives 2." in said.out
    assert "passed  An untrained line goes through the origin." in said.out


def test_a_student_sees_what_does_not_hold_and_in_which_cell(invoke, provider, repository, student_folder):
    answers = {"double-answer": "def double(x):\n    return x / 0 .real\n", "line-answer": "class Line(:\n"}
    path = student_folder / f"{NAME}.ipynb"
    path.write_bytes(to_bytes(answered(repository.load().template, answers)))
    said = invoke("check", path)
    assert said.code == 1
    assert "FAILED  Doubling 1 gives 2." in said.out
    assert "SyntaxError" in said.out
    said = invoke("check", path, "--json", "--only", "double")
    result, = json.loads(said.out)
    assert (result["cell"], result["outcome"], said.code) == ("double", "failed", 1)


def test_a_notebook_is_checked_with_the_files_beside_it(invoke, provider, repository, student_folder):
    (student_folder / "helper.py").write_text("def twice(x):\n    return 2 * x\n")
    answers = ANSWERS | {"double-answer": "from helper import twice as double\n"}
    path = student_folder / f"{NAME}.ipynb"
    path.write_bytes(to_bytes(answered(repository.load().template, answers)))
    assert invoke("check", path, "--only", "double").code == 0


def test_what_cannot_be_checked_is_a_sentence(invoke, provider, student_folder):
    path = student_folder / f"{NAME}.ipynb"
    refused(invoke("check", path, "--only", "tripple"), "no check of `tripple`", "double, line")
    refused(invoke("check", student_folder / "none.ipynb"), "cannot be read")
    refused(invoke("check", student_folder), "cannot be read")
    path.write_bytes(b"")
    refused(invoke("check", path), "empty")
    path.write_text("x = 1\n")
    refused(invoke("check", path), f"{NAME}.ipynb")
    (student_folder / "checks.py").unlink()
    refused(invoke("check", path))


def test_a_student_command_runs_from_a_shell_and_says_nothing_of_sandboxes(student_folder):
    process = start("check", student_folder / f"{NAME}.ipynb", "--only", "double", "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert [result["outcome"] for result in json.loads(out)] == ["passed"]
    assert err == ""


# --- a TA


def export(folder: Path, **files: bytes) -> Path:
    """A zip of one folder a student."""
    path = folder / "export.zip"
    with zipfile.ZipFile(path, "w") as file:
        for student, content in files.items():
            file.writestr(f"{student}/{NAME}.ipynb", content)
    return path


def test_a_ta_grades_shows_and_writes_scores(invoke, provider, repository, course, notebook, tmp_path):
    wrong = to_bytes(answered(repository.load().template, WRONG))
    said = invoke("grade", NAME, export(tmp_path, ada=notebook, bob=wrong), "-c", course.root, "--sandbox", "process")
    assert said.code == 0
    for path in (course.feedback_dir(NAME) / "class.html", course.scores_path):
        assert str(path) in said.out
        assert path.exists()
    said = invoke("grade", NAME, "-c", course.root, "--sandbox", "process", "--json")
    graded = json.loads(said.out)
    assert {row["student"]: row["points"] for row in graded["graded"]} == {"ada": 3.0, "bob": 1.0}
    said = invoke("show", NAME, "bob", "-c", course.root)
    assert (said.code, "Doubling 1 gives 2." in said.out, "Traceback" in said.out) == (0, True, True)
    assert "_pytest" not in said.out
    said = invoke("show", NAME, "bob", "-c", course.root, "--student")
    assert (said.code, "Doubling 1 gives 2." in said.out, "Traceback" in said.out) == (0, True, False)
    said = invoke("show", NAME, "-c", course.root, "--json")
    assert [row["student"] for row in json.loads(said.out)] == ["ada", "bob"]
    assert "bob" in invoke("show", NAME, "-c", course.root).out
    course.scores_path.unlink()
    assert invoke("scores", "-c", course.root).out.strip() == str(course.scores_path)
    assert course.scores_path.exists()


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
    assert sorted(path.name for path in (course.root / "reports" / NAME).iterdir()) == ["ada.json"]
    assert leftovers(course.root) == []


def test_a_notebook_of_a_hundred_megabytes_is_refused_unread(invoke, provider, course, notebook):
    for student in ("ada", "bob"):
        folder = course.submitted_dir / student / NAME
        folder.mkdir(parents=True)
        (folder / f"{NAME}.ipynb").write_bytes(notebook)
    os.truncate(course.submitted_dir / "bob" / NAME / f"{NAME}.ipynb", 100 << 20)
    said = invoke("grade", NAME, "-c", course.root, "--sandbox", "process", "--json")
    assert said.code == 1
    assert "MB" in json.loads(said.out)["rejected"]["bob"]


def test_two_notebooks_a_renamed_one_and_an_unknown_student(invoke, provider, course, notebook, tmp_path):
    source = tmp_path / "handed-in"
    for path in ("ada/mine.ipynb", "bob/one.ipynb", "bob/two.ipynb", f"mallory/{NAME}.ipynb"):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(notebook)
    said = invoke("grade", NAME, source, "-c", course.root, "--sandbox", "process", "--json")
    assert said.code == 1
    graded = json.loads(said.out)
    assert [(row["student"], row["points"]) for row in graded["graded"]] == [("ada", 3.0)]
    assert "2 notebooks" in graded["rejected"]["bob"]
    assert any("mallory" in sentence for sentence in graded["rejected"].values())
    assert "mine.ipynb" in Report.load(course.report_path(NAME, "ada")).notes[0]
    assert {path.name for path in course.submitted_dir.iterdir()} == {"ada"}


def test_collecting_names_what_it_refuses_and_keeps_the_rest(invoke, course, notebook, tmp_path):
    said = invoke("collect", NAME, export(tmp_path, ada=notebook, bob=b""), "-c", course.root)
    assert (said.code, said.out) == (1, "")
    assert "1 submissions" in said.err
    assert "Rejected: bob" in said.err
    refused(invoke("collect", NAME, tmp_path / "nowhere.zip", "-c", course.root), "nowhere.zip", "does not exist")


# --- an instructor's mistakes


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))


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
    refused(invoke("show", NAME, "ada", "-c", course.root), "no report", "grade the submission first")
    refused(invoke("scores", "-c", course.root), "nothing is graded yet")
    folders = ("--assignments", repository.assignments, "--solutions", repository.solutions)
    refused(invoke("init", course.root, *folders), "exists already")
    monkeypatch.chdir(course.root)
    refused(invoke("init", tmp_path / "new"), "no folder assignments")
    (course.root / "course.yaml").write_text("name: x\nassignments: a\nsolution: b\n")
    refused(invoke("grade", NAME, "-c", course.root), "course.yaml", "line 3", "solution")


def test_a_course_is_made_and_says_where(invoke, repository, tmp_path):
    folders = ("--assignments", repository.assignments, "--solutions", repository.solutions)
    said = invoke("init", tmp_path / "new", *folders)
    assert (said.code, said.out.strip()) == (0, str(tmp_path / "new"))


# --- the machine


@pytest.fixture
def handed_in(course, notebook) -> Course:
    folder = course.submitted_dir / "ada" / NAME
    folder.mkdir(parents=True)
    (folder / f"{NAME}.ipynb").write_bytes(notebook)
    return course


def test_without_an_engine_docker_is_a_sentence_and_auto_takes_processes(invoke, provider, handed_in, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    said = invoke("grade", NAME, "-c", handed_in.root, "--sandbox", "docker")
    refused(said, "no container engine answers", "/nonexistent/docker.sock", "--sandbox process")
    assert not (handed_in.root / "reports").exists()
    assert json.loads(invoke("grade", NAME, "-c", handed_in.root, "--json").out)["sandbox"] == "process"
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


def test_a_gpu_is_for_containers_only(invoke, handed_in, monkeypatch):
    monkeypatch.setattr(batch, "run_jobs", in_this_process)
    refused(invoke("grade", NAME, "-c", handed_in.root, "--sandbox", "process", "--gpus", "0"), "containers only")


def test_a_full_disk_is_a_sentence_and_nothing_is_half_written(invoke, provider, handed_in, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("autograder.report.os.fsync", full)
    refused(invoke("grade", NAME, "-c", handed_in.root, "--sandbox", "process"), "No space left on device")
    assert not list((handed_in.root / "reports").rglob("*.json"))
    assert leftovers(handed_in.root) == []


def test_a_locked_gradebook_is_a_sentence(invoke, provider, handed_in, monkeypatch):
    assert invoke("grade", NAME, "-c", handed_in.root, "--sandbox", "process").code == 0
    monkeypatch.setattr(batch, "Book", partial(Book, wait=0.2))
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


def test_doctor_says_what_is_missing_and_what_fixes_it(invoke, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    said = invoke("doctor")
    assert said.code in (0, 1)
    assert "fix:" in said.out
    findings = json.loads(invoke("doctor", "--json").out)
    assert {"status", "what", "fix"} <= findings[0].keys()


# --- an instructor


def test_an_audit_says_clean_or_what_to_mend(invoke, provider, repository, monkeypatch):
    monkeypatch.setattr("autograder.audit.run_jobs", lambda jobs, workers, work: ((job, work(job)) for job in jobs))
    (repository.solutions / NAME / "variants.yaml").write_text(VARIANTS)
    folders = ("--assignments", repository.assignments, "--solutions", repository.solutions)
    command = ("audit", NAME, "--seeds", "1", "--sandbox", "process", *folders)
    said = invoke(*command, "--json")
    assert (said.code, json.loads(said.out)["clean"]) == (0, True)
    rewrite(repository.solutions / NAME / "variants.yaml", "loses: [double]", "loses: [line]")
    said = invoke(*command)
    assert said.code == 1
    assert "wrong-factor: loses `double`, which it does not break (1 of 1 runs)" in said.out
    refused(invoke(*command, "--only", "nonesuch"), "no variant called nonesuch")
    (repository.solutions / NAME / "variants.yaml").unlink()
    refused(invoke(*command), "variants.yaml")


def test_a_release_is_made_and_says_where(invoke, course):
    said = invoke("release", NAME, "-c", course.root)
    assert said.code == 0, said.err
    assert str(course.root / "release") in said.out
    with zipfile.ZipFile(course.root / "release" / f"{NAME}.zip") as file:
        whole = b"".join(file.read(name) for name in file.namelist())
    assert b"secret_input" not in whole
    assert b"twice_the_argument" not in whole
    refused(invoke("release", "hw9", "-c", course.root), "hw9")
