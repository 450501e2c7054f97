"""One grader at a time in a course folder, and what a killed one had begun to write."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autograder.course.course import FILE, Course
from autograder.errors import UserError
from autograder.records.attempts import FOLDER as ATTEMPTS
from autograder.records.nbgrader_config import CONFIG as NBGRADER
from autograder.records.ways import FOLDER as WAYS


@contextmanager
def alone(course: Course) -> Iterator[None]:
    """One grader at a time in a course folder; the system lets go of the lock however this one ends."""
    with (course.root / FILE).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another grader is at work in {course.root}; wait for it, or stop it.") from None
        yield


def remove_halves(course: Course, name: str) -> None:
    """Remove what a killed grader had begun to write; nobody else is writing now."""
    for old in course.submitted_dir.glob(f"*/.{name}-old-*"):
        target = old.with_name(name)
        if not target.exists() and any(old.iterdir()):  # it was killed between two renames
            old.replace(target)
    begun = [*course.submitted_dir.glob(f"*/.{name}-*"), *course.autograded_dir.glob(f"*/{name}/.{name}.ipynb.*")]
    begun += [
        *(course.root / ATTEMPTS / name).glob("*/*/.*"),
        *course.reports_dir(name).glob(".*.json.*"),
        *course.proposed_dir(name).glob(".*.json.*"),
        *(course.reports_dir(name) / "bases").glob(".*.json.*"),
        *course.feedback_dir(name).glob(".*.html.*"),
        *(course.root / WAYS / name).glob(".*.json.*"),
    ]
    for whole in (course.scores_path.name, course.grades_path.name, Path(course.gradebook_url).name, NBGRADER):
        begun += course.root.glob(f".{whole}.*")
    for path in begun:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
