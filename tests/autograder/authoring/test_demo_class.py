"""The made-up class has everybody a grader meets, and grades end where they must."""

from __future__ import annotations

import json
import zipfile

import pytest

from autograder.authoring.demo_class import NAMES, Part, demo_class, write_class
from autograder.authoring.variants import Variant, load_variants
from autograder.course.course import init_course
from autograder.grading import batch
from autograder.grading.batch import grade_course
from autograder.grading.results import Options
from autograder.homework import ipynb
from autograder.judge import grade as grading
from autograder.report import Report
from autograder.submissions.person import Person
from tests.autograder.course_factory import NAME, Repository, make_repository, plant_variants
from tests.autograder.providers import ForkProvider


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Repository:
    made = make_repository(tmp_path_factory.mktemp("repository"))
    plant_variants(made)
    cheats = made.solutions / "cheats"
    cheats.mkdir()
    (cheats / "fork_bomb.py").write_text('"""Forks without end."""\nHARMFUL = True\nwhile True: pass\n')
    return made


def variants_of(repository: Repository) -> list[Variant]:
    return load_variants(repository.files)


def class_of(repository: Repository, *, harmful: bool, everything: bool = True) -> dict[str, Part]:
    return demo_class(repository.files, variants_of(repository), harmful=harmful, everything=everything)


def test_harmful_submissions_are_for_containers_only(repository):
    tame, wild = (
        " ".join(part.story for part in class_of(repository, harmful=harmful).values()) for harmful in (False, True)
    )
    for words in ("solution:", "right:", "wrong:", "blank:", "cheat:", "syntax errors", "Colab", "never ends"):
        assert words in tame
    for words in ("takes all memory", "Forks without end"):
        assert words not in tame
        assert words in wild


def test_the_small_class_has_one_submission_of_each_kind(repository):
    for harmful, more in ((False, []), (True, ["hungry"])):
        kinds = sorted(
            part.story.split(":")[0] for part in class_of(repository, harmful=harmful, everything=False).values()
        )
        usual = ["Colab style", "blank", "careless", "cheat", "endless", "right", "solution", "unlucky", "wrong"]
        assert kinds == sorted([*usual, *more])


def test_the_class_is_the_same_every_time_and_every_name_is_used_once(repository):
    assert class_of(repository, harmful=True) == class_of(repository, harmful=True)
    assert len(set(NAMES)) == len(NAMES)


def test_every_submission_is_a_notebook_in_the_zip(repository, tmp_path):
    people = class_of(repository, harmful=True)
    write_class(people, f"{NAME}.ipynb", tmp_path / "export.zip")
    with zipfile.ZipFile(tmp_path / "export.zip") as file:
        assert set(file.namelist()) == {f"{student}/{NAME}.ipynb" for student in people}
        for name in file.namelist():
            notebook, _ = ipynb.parse(file.read(name))
            assert notebook.cells
            json.loads(file.read(name))


def test_the_class_is_graded_as_it_must_be(repository, tmp_path, monkeypatch):
    provider = ForkProvider()
    monkeypatch.setattr(grading, "provider_of", lambda *arguments: provider)
    monkeypatch.setattr(batch, "run_jobs", lambda jobs, workers, work, started: ((job, work(job)) for job in jobs))
    everybody = class_of(repository, harmful=False)
    people = {student: given for student, given in everybody.items() if "endless" not in given.story}
    write_class(people, f"{NAME}.ipynb", tmp_path / "export.zip")
    course = init_course(
        tmp_path / "course",
        assignments=repository.assignments,
        solutions=repository.solutions,
        students=[Person(id=student) for student in people],
    )
    done = grade_course(course, NAME, tmp_path / "export.zip", Options(sandbox="process"))
    provider.close()
    assert done.rejected == {}
    points = {what.split(":")[0]: report.earned for report in done.reports for what in [people[report.student].story]}
    assert {kind: points[kind] for kind in ("solution", "right", "blank", "cheat", "Colab style", "unlucky")} == {
        "solution": 3.0, "right": 3.0, "blank": 0.0, "cheat": 0.0, "Colab style": 3.0, "unlucky": 3.0,
    }  # fmt: skip
    assert points["careless"] == 2.0  # the first of two tasks
    unlucky = next(report for report in done.reports if people[report.student].story.startswith("unlucky"))
    assert [run.status for run in unlucky.runs].count("crash") == 1
    assert all(isinstance(report, Report) for report in done.reports)
