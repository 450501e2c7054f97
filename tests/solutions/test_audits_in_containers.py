"""A part of each homework's audit, in real containers: the whole of it is `autograder audit hwN --seeds 20`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autograder.authoring.audit import run_audit
from autograder.authoring.variants import load_variants
from autograder.errors import UserError
from autograder.homework.files import HomeworkFiles
from autograder.sandbox import image
from tests.solutions.hands.notebooks import homeworks

pytestmark = pytest.mark.container
ROOT = Path(__file__).resolve().parents[2]
SAMPLES = {  # of the homework's own, beside the solution and the blank template; two cores take about 30 s for each
    "hw1": {"right": 1, "wrong": 1, "cheat": 1},
    "hw2": {"cheat": 1},  # its trainings take longer
    "hw3": {"cheat": 1},
    "hw4": {"cheat": 1},
    "hw5": {"cheat": 1},
    "hw6": {"cheat": 1},
}


def files_of(homework: str) -> HomeworkFiles:
    return HomeworkFiles(homework, ROOT / "assignments", ROOT / "solutions")


def some_variants(homework: str) -> list[str]:
    """The solution, the blank template, and a few of each kind, evenly spread over the list."""
    own = [variant for variant in load_variants(files_of(homework)) if not variant.shared]
    chosen = [variant.name for variant in own if variant.kind in ("solution", "blank")]
    for kind, count in SAMPLES[homework].items():
        names = [variant.name for variant in own if variant.kind == kind]
        chosen += names[len(names) // (2 * count) :: max(len(names) // count, 1)][:count]
    return chosen


def test_every_homework_has_a_sample() -> None:
    assert sorted(SAMPLES) == homeworks()


@pytest.mark.parametrize("homework", SAMPLES)
def test_part_of_the_audit_is_clean_in_containers(homework: str) -> None:
    try:
        image.build()
    except UserError as error:
        if os.environ.get("AUTOGRADER_REQUIRE_CONTAINERS") or os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    names = some_variants(homework)
    assert len(names) == 2 + sum(SAMPLES[homework].values()), names
    audit = run_audit(files_of(homework), seeds=1, jobs=2, sandbox="docker", only=names, anew=True)
    assert {(finding.variant, finding.sentence) for finding in audit.findings} == set()
    assert set(audit.reports) == set(names)
