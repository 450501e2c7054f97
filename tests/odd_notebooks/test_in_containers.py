"""The odd notebooks as a class in containers: what is right in a kernel earns all, what is not costs its own task."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from autograder.course.course import init_course
from autograder.errors import UserError
from autograder.grading.batch import Options, grade_course
from autograder.sandbox import image
from tests.odd_notebooks.oracle import FOLDER, HERE, names

pytestmark = pytest.mark.container
FULL = 2.0
# Points of those that lose some, with what a kernel says to them.
LOSES = {
    "input-same-cell": (1.0, "nobody answers `input`"),
    "kernel-r": (1.0, "a cell in R is no Python"),
    "mpl-tk": (1.0, "there is no display for Tk"),
    "nbsp-source": (1.0, "a non-breaking space is no indentation"),
    "py312-fstring": (1.0, "the image's Python does not read it, and the message says which would"),
    "torch-compile": (1.0, "there is no C++ compiler"),
}


def test_the_odd_notebooks_earn_in_containers_what_they_are_worth(tmp_path: Path) -> None:
    try:
        image.build()
    except UserError as error:
        if os.environ.get("AUTOGRADER_REQUIRE_CONTAINERS") or os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    shutil.copytree(HERE / "homework", tmp_path / "homework")
    folders = {"assignments": tmp_path / "homework" / "assignments", "solutions": tmp_path / "homework" / "solutions"}
    course = init_course(tmp_path / "course", **folders)
    batch = grade_course(course, "mini", FOLDER, Options(sandbox="docker", jobs=2))
    earned = {report.student: report.earned for report in batch.reports}
    assert earned == {name: LOSES.get(name, (FULL, ""))[0] for name in names()}
    (newer,) = [
        run.error for report in batch.reports if report.student == "py312-fstring" for run in report.runs if run.error
    ]
    assert newer is not None
    assert "needs Python 3.12" in newer
