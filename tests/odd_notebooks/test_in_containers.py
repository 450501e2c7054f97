"""The odd notebooks as a class in containers: what is right in a kernel earns all, what is not costs its own task."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from autograder.course.course import init_course
from autograder.errors import UserError
from autograder.grading.batch import grade_course
from autograder.grading.results import Options
from autograder.sandbox import image
from tests.odd_notebooks.oracle import FOLDER, HERE, OF_THE_WORKER, names, worth

pytestmark = pytest.mark.container


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
    chosen = [name for name in names() if name not in OF_THE_WORKER]
    for name in chosen:
        shutil.copytree(FOLDER / name, tmp_path / "in" / name)
    batch = grade_course(course, "mini", tmp_path / "in", Options(sandbox="docker", jobs=2))
    earned = {report.student: report.earned for report in batch.reports}
    assert earned == {name: worth(name) for name in chosen}
    (newer,) = [
        run.error for report in batch.reports if report.student == "py312-fstring" for run in report.runs if run.error
    ]
    assert newer is not None
    assert "needs Python 3.12" in newer
