"""Without a container engine no class is graded unless somebody says twice what that means."""

from __future__ import annotations

import pytest

from autograder.authoring import audit
from autograder.course.course import FILE
from autograder.sandbox import opening
from tests.autograder.commands.saying import refused, rewrite
from tests.autograder.course_factory import NAME, plant_variants
from tests.autograder.running import start

DOWN = "unix:///nowhere/docker.sock"


@pytest.fixture
def down(monkeypatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", DOWN)


@pytest.mark.usefixtures("down", "provider")
def test_grade_without_an_engine_ends_with_the_command_that_helps(invoke, handed_in):
    refused(invoke("grade", NAME, "--course", handed_in.root), "sudo systemctl start docker", "--sandbox process")
    assert not handed_in.report_path(NAME, "ada").exists()
    assert not (handed_in.root / "scores.csv").exists()


@pytest.mark.usefixtures("down", "provider")
def test_audit_without_an_engine_ends_with_the_command_that_helps(invoke, repository):
    folders = ("--assignments", repository.assignments, "--solutions", repository.solutions)
    refused(invoke("audit", NAME, *folders), "sudo systemctl start docker", "--sandbox process")


@pytest.mark.usefixtures("down", "provider")
def test_auto_is_no_word_of_grade_audit_or_course_yaml(invoke, handed_in, repository):
    for command in (("grade", NAME, "--course", handed_in.root), ("audit", NAME)):
        said = invoke(*command, "--sandbox", "auto")
        assert (said.code, said.out) == (2, "")
        assert "auto" in said.err
    with (handed_in.root / FILE).open("a") as file:
        file.write("sandbox:\n  kind: auto\n")
    refused(invoke("grade", NAME, "--course", handed_in.root), "kind")


@pytest.mark.usefixtures("down", "provider")
def test_the_process_sandbox_refuses_root_unless_told_twice(invoke, handed_in, monkeypatch):
    monkeypatch.setattr(opening, "is_root", lambda: True)
    named = ("grade", NAME, "--course", handed_in.root, "--sandbox", "process")
    refused(invoke(*named), "root", "--no-walls-as-root")
    assert not handed_in.report_path(NAME, "ada").exists()
    said = invoke(*named, "--no-walls-as-root")
    assert said.code == 0, said.err
    assert "no security boundary" in said.err + said.out


@pytest.mark.usefixtures("down", "provider")
def test_naming_the_process_sandbox_in_course_yaml_is_no_second_word_for_root(invoke, handed_in, monkeypatch):
    monkeypatch.setattr(opening, "is_root", lambda: True)
    with (handed_in.root / FILE).open("a") as file:
        file.write("sandbox:\n  kind: process\n")
    refused(invoke("grade", NAME, "--course", handed_in.root), "root", "--no-walls-as-root")


@pytest.mark.usefixtures("down", "provider")
def test_an_audit_as_root_needs_the_second_word_too(invoke, repository, monkeypatch):
    monkeypatch.setattr(opening, "is_root", lambda: True)
    monkeypatch.setattr(audit, "run_jobs", lambda *arguments: pytest.fail("a job was run"))
    folders = ("--assignments", repository.assignments, "--solutions", repository.solutions)
    plant_variants(repository)
    refused(invoke("audit", NAME, *folders, "--sandbox", "process"), "root", "--no-walls-as-root")


@pytest.mark.filterwarnings("always::autograder.errors.SandboxWarning")  # which other tests do not want to see
@pytest.mark.usefixtures("down", "provider")
def test_the_process_sandbox_says_what_it_is_before_anything_runs(invoke, handed_in):
    rewrite(handed_in.assignments_dir / NAME / "assignment.yaml", "title: Doubling", "title: [")
    said = invoke("grade", NAME, "--course", handed_in.root, "--sandbox", "process")
    assert said.code == 2
    assert "no security boundary" in said.err


def test_a_notebook_that_reads_the_solution_off_the_disk_gets_nothing_where_the_engine_is_down(handed_in):
    grader = start("grade", NAME, "--course", handed_in.root, environment={"DOCKER_HOST": DOWN})
    said, told = grader.communicate(timeout=60)
    assert (grader.returncode, said) == (2, "")
    assert "--sandbox process" in told
    assert "sudo systemctl start docker" in told
