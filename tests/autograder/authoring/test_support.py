"""A homework may bring modules of its own, and packages beside those every sandbox has."""

from __future__ import annotations

from contextlib import closing

import pytest

from autograder.authoring.release import release
from autograder.course.course import init_course
from autograder.errors import UserError
from autograder.homework.assignment import load_assignment
from autograder.judge import grade as module
from autograder.judge.grade import grade
from autograder.judge.job import Job
from autograder.sandbox.tags import tag_of
from autograder.submission import Submission
from tests.autograder.course_factory import ANSWERS, NAME, Repository, answered, make_repository, to_bytes
from tests.autograder.providers import ForkProvider

HELPERS = '"""Public helpers."""\n\n\ndef twice(x):\n    return 2 * x\n'
USES = {**ANSWERS, "double-answer": "from helpers import twice\ndouble = twice\n"}


@pytest.fixture
def repository(tmp_path) -> Repository:
    made = make_repository(tmp_path)
    (made.files.folder / "helpers.py").write_text(HELPERS)
    declare(made, "files: [helpers.py]\npackages: ['einops==0.8.1']\n")
    return made


def declare(repository: Repository, text: str) -> None:
    with repository.files.config.open("a") as file:
        file.write(text)


def test_it_lies_beside_the_notebook_whatever_the_student_handed_in_under_its_name(repository, monkeypatch):
    asked: list[str | None] = []
    with closing(ForkProvider()) as source:
        monkeypatch.setattr(module, "provider_of", lambda kind, limits, gpu, image, _: asked.append(image) or source)
        notebook = to_bytes(answered(repository.load().template, USES))
        theirs = {"helpers.py": b"def twice(x):\n    return 3 * x\n"}
        submission = Submission.of("ada", notebook, theirs)
        report = grade(Job(repository.files, submission, "process"))
    assert {cell.cell: cell.earned for cell in report.cells}["double"] == 2
    assert asked == [None], "the process sandbox has no image"


def test_an_image_with_the_homeworks_packages_is_asked_for(repository, monkeypatch):
    asked: list[str | None] = []

    def provider(kind, limits, gpu, image, datasets):
        asked.append(image)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "provider_of", provider)
    submission = Submission.of("ada", to_bytes(repository.load().template))
    for image in (None, "mine"):
        with pytest.raises(KeyboardInterrupt):
            grade(Job(repository.files, submission, "docker", image=image))
    assert asked == [tag_of(["einops==0.8.1"]), "mine"]


def test_students_get_the_files_and_are_told_of_the_packages(repository, tmp_path):
    course = init_course(tmp_path / "course", assignments=repository.assignments, solutions=repository.solutions)
    folder = release(course, NAME)
    assert (folder / "helpers.py").read_text() == HELPERS
    assert "[cli]' 'einops==0.8.1'" in (folder / "README.md").read_text()
    assert "packages:\n- einops==0.8.1" in (folder / "assignment.yaml").read_text()


def test_a_hidden_line_in_a_support_module_stops_the_release(repository, tmp_path):
    course = init_course(tmp_path / "course", assignments=repository.assignments, solutions=repository.solutions)
    (repository.files.folder / "helpers.py").write_text("twice_the_argument = x + x\n")
    with pytest.raises(UserError, match=r"helpers.py, line 1 is part of an answer"):
        release(course, NAME)


def test_another_support_module_makes_other_checks(repository):
    before = load_assignment(repository.files).checks_sha256
    (repository.files.folder / "helpers.py").write_text(HELPERS.replace("2", "3"))
    assert load_assignment(repository.files).checks_sha256 != before


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("files: [nothing.py]\n", "`files` names nothing.py, which does not exist"),
        ("files: [../hw1/hw1.py]\n", "'../hw1/hw1.py' should be a .txt, .csv, .json or .py file beside it"),
        ("files: [checks.py]\n", "'checks.py' should be"),
        ("packages: ['--index-url x']\n", "packages"),
    ],
)
def test_what_can_not_be_is_a_sentence(tmp_path, text, sentence):
    made = make_repository(tmp_path)
    declare(made, text)
    with pytest.raises(UserError, match=sentence):
        load_assignment(made.files)
