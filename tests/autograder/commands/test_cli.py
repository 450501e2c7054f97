"""Every command: help with an example of itself, data on stdout, an exit code; the way of each user."""

from __future__ import annotations

import json
import shlex
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from autograder import cli
from tests.autograder.commands.saying import WRONG, export, refused, rewrite
from tests.autograder.course_factory import ANSWERS, NAME, answered, plant_variants, to_bytes
from tests.autograder.running import PATIENCE, start


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
    (result,) = json.loads(said.out)
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
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert [result["outcome"] for result in json.loads(out)] == ["passed"]
    assert err == ""


# --- a TA


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


def test_a_course_is_made_and_says_where(invoke, repository, tmp_path):
    folders = ("--assignments", repository.assignments, "--solutions", repository.solutions)
    said = invoke("init", tmp_path / "new", *folders)
    assert (said.code, said.out.strip()) == (0, str(tmp_path / "new"))


def test_doctor_says_what_is_missing_and_what_fixes_it(invoke, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    said = invoke("doctor")
    assert said.code in (0, 1)
    assert "fix:" in said.out
    findings = json.loads(invoke("doctor", "--json").out)
    assert {"status", "what", "fix"} <= findings[0].keys()


# --- an instructor


def test_an_audit_says_clean_or_what_to_mend(invoke, provider, repository, monkeypatch):
    monkeypatch.setattr(
        "autograder.authoring.audit.run_jobs", lambda jobs, workers, work: ((job, work(job)) for job in jobs)
    )
    variants = plant_variants(repository)
    folders = ("--assignments", repository.assignments, "--solutions", repository.solutions)
    command = ("audit", NAME, "--seeds", "1", "--sandbox", "process", *folders)
    said = invoke(*command, "--json")
    assert (said.code, json.loads(said.out)["clean"]) == (0, True)
    rewrite(variants / "wrong.yaml", "loses: [double]", "loses: [line]")
    said = invoke(*command)
    assert said.code == 1
    assert "wrong-factor: loses `double`, which it does not break (1 of 1 runs)" in said.out
    refused(invoke(*command, "--only", "nonesuch"), "no variant called nonesuch")
    shutil.rmtree(variants)
    refused(invoke(*command), "variants does not exist")


def test_a_release_is_made_and_says_where(invoke, course):
    said = invoke("release", NAME, "-c", course.root)
    assert said.code == 0, said.err
    assert str(course.root / "release") in said.out
    with zipfile.ZipFile(course.root / "release" / f"{NAME}.zip") as file:
        whole = b"".join(file.read(name) for name in file.namelist())
    assert b"secret_input" not in whole
    assert b"twice_the_argument" not in whole
    refused(invoke("release", "hw9", "-c", course.root), "hw9")


def test_a_broken_check_is_named_as_such_and_the_machine_is_not_blamed(invoke, provider, handed_in, repository):
    rewrite(repository.solutions / NAME / "checks.py", "2 * secret_input", "2 * secret_inptu")
    said = invoke("grade", NAME, "-c", handed_in.root, "--sandbox", "process")
    assert said.code == 1
    assert "Checks are broken: test_double_of_noise[shape0]" in said.out
    assert "machine failed" not in said.out + said.err
    assert "a check is broken" in said.err
