"""A part of homework 1's audit, in real containers: the whole of it is `autograder audit hw1 --seeds 20`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autograder.authoring.audit import run_audit
from autograder.authoring.variants import load_variants
from autograder.errors import UserError
from autograder.homework.files import HomeworkFiles
from autograder.sandbox import image

pytestmark = pytest.mark.container
ROOT = Path(__file__).resolve().parents[2]
HW1 = HomeworkFiles("hw1", ROOT / "assignments", ROOT / "solutions")
SAMPLE = {"right": 1, "wrong": 2, "cheat": 1}  # of the homework's own, beside the solution and the blank template


def some_variants() -> list[str]:
    """The solution, the blank template, and a few of each kind, evenly spread over the list; two cores take 40 s."""
    own = [variant for variant in load_variants(HW1) if not variant.shared]
    chosen = [variant.name for variant in own if variant.kind in ("solution", "blank")]
    for kind, count in SAMPLE.items():
        names = [variant.name for variant in own if variant.kind == kind]
        chosen += names[len(names) // (2 * count) :: max(len(names) // count, 1)][:count]
    return chosen


def test_part_of_the_audit_is_clean_in_containers() -> None:
    try:
        image.build()
    except UserError as error:
        if os.environ.get("AUTOGRADER_REQUIRE_CONTAINERS") or os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    names = some_variants()
    assert len(names) == 6, names
    audit = run_audit(HW1, seeds=1, jobs=2, sandbox="docker", only=names)
    assert {(finding.variant, finding.sentence) for finding in audit.findings} == set()
    assert set(audit.reports) == set(names)
