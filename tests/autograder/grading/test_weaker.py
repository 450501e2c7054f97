"""What was graded behind strong walls is not graded anew behind weak ones."""

from __future__ import annotations

import pytest

from autograder.course.course import Course
from autograder.grading.results import Batch
from autograder.report import Report
from tests.autograder.course_factory import ANSWERS, NAME
from tests.autograder.grading.test_batch import WRONG, course, hand_in, here, provider, run

__all__ = ["course", "here", "provider"]  # fixtures


def in_containers(course: Course, student: str = "ada") -> bytes:
    """As if a student's report had been made in a container."""
    path = course.report_path(NAME, student)
    report = Report.load(path)
    stronger = report.environment.model_copy(update={"sandbox": "docker", "image": "sha256:1"})
    report.model_copy(update={"environment": stronger}).save(path)
    return path.read_bytes()


def of(batch: Batch, student: str = "ada") -> Report:
    return next(report for report in batch.reports if report.student == student)


@pytest.mark.parametrize("force", [False, True])
def test_for_the_same_submission_a_weaker_report_never_replaces_a_stronger_one(course, here, force):
    run(course)
    before = in_containers(course)
    here.clear()
    batch = run(course, force=force)
    assert "ada" not in here
    assert course.report_path(NAME, "ada").read_bytes() == before
    assert of(batch).environment.sandbox == "docker"
    assert batch.kept == ["ada"]


def test_changed_checks_are_no_reason_to_replace_it_either(course, here):
    run(course)
    before = in_containers(course)
    checks = course.solutions_dir / NAME / "checks.py"
    checks.write_text(checks.read_text() + "\nassert torch\n")
    here.clear()
    run(course)
    assert sorted(here) == ["bob", "cleo"]
    assert course.report_path(NAME, "ada").read_bytes() == before


def test_a_changed_submission_is_refused_with_a_sentence_unless_forced(course, here):
    run(course)
    before = in_containers(course)
    hand_in(course, "ada", WRONG)
    here.clear()
    batch = run(course)
    assert "ada" not in here
    assert "container" in batch.rejected["ada"]
    assert "--force" in batch.rejected["ada"]
    assert course.report_path(NAME, "ada").read_bytes() == before
    assert of(run(course, force=True)).environment.sandbox == "process"


def test_a_container_report_that_the_machine_spoiled_is_no_mark_and_is_replaced(course, here):
    run(course)
    in_containers(course)
    path = course.report_path(NAME, "ada")
    report = Report.load(path)
    spoiled = report.checks[0].model_copy(update={"outcome": "infrastructure", "reason": None, "fraction": 0.0})
    report.model_copy(update={"checks": [spoiled, *report.checks[1:]]}).save(path)
    hand_in(course, "ada", ANSWERS)
    batch = run(course)
    assert of(batch).environment.sandbox == "process"
    assert batch.kept == []
