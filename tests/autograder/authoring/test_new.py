"""A homework begins as a worked example whose audit is clean, or as a notebook that is there already."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.authoring import audit as module
from autograder.authoring.audit import run_audit
from autograder.authoring.new import EXAMPLE, new_homework
from autograder.authoring.package import build_wheel
from autograder.authoring.release import release
from autograder.course.course import init_course
from autograder.errors import UserError
from autograder.homework.files import HomeworkFiles
from autograder.judge import grade as grading
from tests.autograder.providers import ForkProvider


@pytest.fixture(scope="module")
def homework(tmp_path_factory) -> HomeworkFiles:
    root = tmp_path_factory.mktemp("new")
    made = HomeworkFiles("hw7", root / "assignments", root / "solutions")
    new_homework(made)
    return made


@pytest.fixture
def provider(monkeypatch) -> Iterator[ForkProvider]:
    source = ForkProvider()
    monkeypatch.setattr(grading, "provider_of", lambda *arguments: source)
    monkeypatch.setattr(module, "run_jobs", lambda jobs, workers, work: ((job, work(job)) for job in jobs))
    monkeypatch.setattr(module, "sweep", lambda: [])
    yield source
    source.close()


@pytest.mark.usefixtures("provider")
@pytest.mark.filterwarnings("ignore:the process sandbox")
def test_the_worked_example_passes_its_audit_with_no_course_and_no_release(homework):
    audit = run_audit(homework, seeds=3, sandbox="process")
    assert [(finding.variant, finding.sentence) for finding in audit.findings] == []
    earned = {name: {report.earned for report in reports} for name, reports in audit.reports.items()}
    assert earned["solution"] == earned["right-library"] == {3.0}
    assert earned["blank"] == earned["cheat-always-the-mean"] == {0.0}
    assert len(audit.variants) == 8


@pytest.mark.usefixtures("provider")
@pytest.mark.filterwarnings("ignore:the process sandbox")
def test_the_audit_makes_the_template_of_a_solution_that_has_changed(tmp_path):
    made = HomeworkFiles("hw7", tmp_path / "assignments", tmp_path / "solutions")
    new_homework(made)
    text = made.solution.read_text()
    made.solution.write_text(text.replace("Waiting times", "Waiting longer"))
    run_audit(made, seeds=1, sandbox="process", only=["blank"])
    assert "Waiting longer" in made.template().read_text()


def test_a_homework_that_begins_as_the_example_can_be_released(homework, tmp_path):
    course = init_course(tmp_path / "course", assignments=homework.assignments, solutions=homework.solutions)
    assert (release(course, "hw7") / "hw7.ipynb").is_file()
    with zipfile.ZipFile(io.BytesIO(build_wheel())) as wheel:
        assert not [name for name in wheel.namelist() if EXAMPLE.name in Path(name).parts]


def test_nothing_is_overwritten(homework):
    with pytest.raises(UserError, match="exists already"):
        new_homework(homework)
