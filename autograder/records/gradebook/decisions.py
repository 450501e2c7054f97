"""Points that people decided in a log of their own, entered where nbgrader keeps a human's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autograder.records.gradebook.cells import complete


def decide(
    api: Any,
    homework: str,
    given: Mapping[str, Mapping[str, float]],
    withdrawn: Mapping[str, Mapping[str, float]],
) -> None:
    """Enter overrides: student -> cell -> points that a person gave. What is as it should be is left alone.

    Args:
        withdrawn: those that do not hold any more; a score that another hand gave since stays.
    """
    for student, cells in given.items():
        for cell, points in cells.items():
            grade = _grade(api, homework, student, cell, make=True)
            if grade is not None and (grade.manual_score != points or grade.needs_manual_grade):
                grade.manual_score, grade.needs_manual_grade = points, False
    for student, cells in withdrawn.items():
        for cell, points in cells.items():
            grade = _grade(api, homework, student, cell, make=False)
            if grade is not None and grade.manual_score == points:
                grade.manual_score, grade.needs_manual_grade = None, grade.auto_score is None


def _grade(api: Any, homework: str, student: str, cell: str, *, make: bool) -> Any:
    """The grade of a cell; None if there is none, or the homework has no such cell any more."""
    from nbgrader.api import MissingEntry

    try:
        notebook = api.find_assignment(homework).notebooks[0]
        if make:
            _make_places(api, homework, student)
        return api.find_grade(cell, notebook.name, homework, student)
    except (MissingEntry, IndexError):
        return None


def _make_places(api: Any, homework: str, student: str) -> None:
    """Places for a student's grades; where nothing was handed in, no other cell waits for a human."""
    from nbgrader.api import MissingEntry

    api.update_or_create_student(student)
    try:
        submitted, nothing = api.find_submission(homework, student), False
    except MissingEntry:
        nothing = True
        with api.db.no_autoflush:  # nbgrader links rows before it adds them
            submitted = api.update_or_create_submission(homework, student)
    for part in submitted.notebooks:
        complete(api, part.notebook, part)
        for grade in part.grades if nothing else ():
            grade.needs_manual_grade = False
