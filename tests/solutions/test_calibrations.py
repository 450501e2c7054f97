"""Every homework that trains has honest weak trainings and baselines, written down soundly."""

from __future__ import annotations

from pathlib import Path

import pytest

from autograder.authoring.calibrate import load_trainings
from autograder.homework.assignment import load_assignment
from autograder.homework.files import HomeworkFiles

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.parent.name for path in ROOT.glob("assignments/*/assignment.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_homework_that_trains_has_ten_honest_trainings_and_a_baseline_for_each_trained_cell(name: str) -> None:
    files = HomeworkFiles(name, ROOT / "assignments", ROOT / "solutions")
    assignment = load_assignment(files)
    trained = {check.cell for check in assignment.checks if check.trains is not None}
    trainings = load_trainings(files) if trained else []
    kinds = [training.kind for training in trainings]
    assert not trained or kinds.count("honest") >= 10
    for cell in trained:
        assert [t for t in trainings if t.kind == "baseline" and cell in t.loses], f"no baseline for `{cell}`"
    for training in trainings:
        assert training.loses <= set(assignment.automatic)
        assert training.fails <= {check.name for check in assignment.checks}
