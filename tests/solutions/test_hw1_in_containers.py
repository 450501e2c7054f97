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
EVERY = 16  # of the wrong answers, one in so many


def some_variants() -> list[str]:
    """Whatever must earn everything, the blank template, the homework's own cheats, and a few wrong answers."""
    variants = load_variants(HW1)
    wrong = [variant.name for variant in variants if variant.kind == "wrong"][::EVERY]
    return wrong + [v.name for v in variants if v.kind != "wrong" and not v.shared]


def test_part_of_the_audit_is_clean_in_containers() -> None:
    try:
        image.build()
    except UserError as error:
        if os.environ.get("AUTOGRADER_REQUIRE_CONTAINERS") or os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    names = some_variants()
    assert {"solution", "blank", "right-einsum"} <= set(names)
    audit = run_audit(HW1, seeds=1, jobs=2, sandbox="docker", only=names)
    assert {(finding.variant, finding.sentence) for finding in audit.findings} == set()
    assert set(audit.reports) == set(names)
