"""Fixtures of the tests of the command line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autograder import cli
from autograder.course.course import Course, init_course
from autograder.grading import batch
from autograder.judge import grade as grading
from autograder.judge import notebook_check
from autograder.submissions.person import Person
from tests.autograder.commands.saying import Invoke, Said, in_this_process
from tests.autograder.course_factory import NAME, Repository, answered, make_repository, to_bytes
from tests.autograder.providers import ForkProvider


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
    monkeypatch.setattr(grading, "provider_of", lambda *arguments: source)
    monkeypatch.setattr(notebook_check, "open_provider", lambda *arguments, **options: source)
    monkeypatch.setattr(batch, "run_jobs", in_this_process)
    yield source
    source.close()


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


@pytest.fixture
def handed_in(course, notebook) -> Course:
    folder = course.submitted_dir / "ada" / NAME
    folder.mkdir(parents=True)
    (folder / f"{NAME}.ipynb").write_bytes(notebook)
    return course
