"""What instructors and graders ask before and beside grading: rubrics, calibrations, profiles."""

from __future__ import annotations

import json

import pytest

from autograder.authoring import calibrate
from autograder.judge import grade as grading
from autograder.judge.job import assignment_of
from tests.autograder.commands.saying import in_this_process, refused, rewrite
from tests.autograder.course_factory import NAME
from tests.autograder.providers import ForkProvider

HONEST = """\
honest:
  - name: few-steps
    why: Stops early.
    edits: [{cell: line-answer, find: "torch.zeros(())", replace: "torch.ones(())"}]
    loses: [line]
"""
MEASURED = '    assert_score(abs(slope - 3), 1.0, 0.1, "the distance of the slope from 3")\n'


def test_rubrics_are_shown_before_anything_is_graded(invoke, course) -> None:
    said = invoke("show", NAME, "--rubric", "-c", course.root)
    assert said.code == 0
    assert "0.6  calls the loss a convex function of the slope" in said.out
    assert "Model answer:" in said.out
    refused(invoke("show", NAME, "-c", course.root), "nothing of hw0 is graded yet")


@pytest.fixture
def calibrated(repository, monkeypatch):
    """The small homework with a figure to calibrate, in forked workers."""
    files = repository.files
    rewrite(files.hidden / "checks.py", "    assert abs(slope - 3) < 0.1\n", MEASURED)
    text = (files.hidden / "checks.py").read_text()
    (files.hidden / "checks.py").write_text(f"from autograder.checks import assert_score\n{text}")
    files.calibration.write_text(HONEST)
    files.variants.mkdir(exist_ok=True)
    files.template().unlink()  # it was never released
    source = ForkProvider()
    monkeypatch.setattr(grading, "provider_of", lambda *arguments: source)
    monkeypatch.setattr(calibrate, "run_jobs", lambda jobs, workers, work: in_this_process(jobs, workers, work, None))
    assignment_of.cache_clear()
    yield files
    source.close()


def test_a_calibration_needs_no_course_and_writes_its_result_beside_the_solution(invoke, calibrated) -> None:
    folders = ("--assignments", calibrated.assignments, "--solutions", calibrated.solutions)
    said = invoke("calibrate", NAME, "--seeds", 4, "--sandbox", "process", *folders)
    assert said.code == 0, said
    assert "the distance of the slope from 3" in said.out
    assert "Every line holds, and no honest training is accused." in said.out
    saved = json.loads(calibrated.calibrated.read_text())
    assert len(saved["marks"]["few-steps"]) == 4
    assert saved["findings"] == []


def test_what_a_calibration_is_asked_wrongly_is_a_sentence(invoke, calibrated) -> None:
    folders = ("--assignments", calibrated.assignments, "--solutions", calibrated.solutions)
    ask = ("calibrate", NAME, "--sandbox", "process", *folders)
    refused(invoke(*ask, "--only", "nobody"), "there is no training called nobody")
    refused(invoke(*ask, "--dataset", "mnist"), "--dataset takes NAME=FOLDER")
    refused(invoke(*ask, "--profile", "gpu"), "has no profile `gpu`; there are none")
    calibrated.calibration.unlink()
    refused(invoke(*ask), "calibration.yaml does not exist")
