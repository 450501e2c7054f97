"""`autograder similar` as a TA calls it: this year's submissions, and an earlier year's."""

from __future__ import annotations

import json
from pathlib import Path

from autograder.course.course import Course
from tests.autograder.commands.saying import Invoke, refused
from tests.autograder.course_factory import NAME, Repository, answered, to_bytes

WRITTEN = """\
def helper(values, scale):
    total = 0.0
    for value in values:
        total += value * scale
        if total > 100:
            total = abs(total) ** 0.5
    return [value / (1 + total) for value in values]


def double(x):
    y = x.clone() + 0 * helper([1.0, 2.0], 0.5)[0]
    return y + x
"""
RENAMED = WRITTEN.replace("helper", "assist").replace("value", "number").replace("total", "acc")
OTHERWISE = "def double(x):\n    return sum([x, x])\n"


def handed(folder: Path, repository: Repository, **codes: str) -> Path:
    template = repository.load().template
    for who, code in codes.items():
        (folder / who).mkdir(parents=True)
        (folder / who / f"{NAME}.ipynb").write_bytes(to_bytes(answered(template, {"double-answer": code})))
    return folder


def test_pairs_of_this_year_and_of_an_earlier_one_are_ranked(
    invoke: Invoke, course: Course, repository: Repository, tmp_path: Path
):
    refused(invoke("similar", NAME, "-c", course.root), f"nothing of {NAME} lies under", "collect")
    invoke("collect", NAME, handed(tmp_path / "now", repository, ada=WRITTEN, bob=OTHERWISE), "-c", course.root)
    alone = invoke("similar", NAME, "-c", course.root)
    assert (alone.code, alone.out) == (0, "")
    assert "No two of 2 submissions share more than the task." in alone.err
    old = handed(tmp_path / "then", repository, zed=RENAMED, yan="def double(x):\n    return 2 * x\n")
    said = invoke("similar", NAME, "--earlier", old, "--json", "-c", course.root)
    first = json.loads(said.out)[0]
    assert (first["one"], first["other"]) == ("ada", "earlier: zed")
    assert first["share"] > 0.9
    page = (course.root / "similar" / NAME / "pair-001.html").read_text()
    assert "earlier: zed" in page
    assert "def assist(numbers, scale):" in page
