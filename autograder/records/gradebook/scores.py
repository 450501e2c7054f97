"""What a gradebook says of a homework: everybody's scores and the comments of humans, a query each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CellScore:
    """One graded cell of one student."""

    points: float  # what counts: the human's score if there is one, plus extra credit
    max_points: float
    automatic: float | None
    manual: float | None
    needs_manual: bool


@dataclass(frozen=True, slots=True)
class StudentScore:
    """One student's submission as the gradebook has it."""

    student: str
    name: str
    cells: dict[str, CellScore]  # grade_id -> score, in the assignment's order


def scores_in(api: Any, homework: str, cells: Mapping[str, float]) -> list[StudentScore]:
    """Every submission of a homework, sorted by student.

    Args:
        cells: their points, in the order in which they are given.
    """
    found: dict[str, dict[str, CellScore]] = {}
    names: dict[str, str] = {}
    same: dict[tuple[Any, ...], CellScore] = {}  # in a large class many cells have the same scores
    for student, first, last, cell, *scored in _grades(api, homework):
        if student not in found:
            names[student], found[student] = f"{first or ''} {last or ''}".strip(), {}
        key = (cell, *scored)
        found[student][cell] = same.get(key) or same.setdefault(key, _cell_score(cells.get(cell, 0.0), *scored))
    return [
        StudentScore(student, names[student], {cell: found[student][cell] for cell in cells if cell in found[student]})
        for student in sorted(found)
    ]


def comments_in(api: Any, homework: str) -> dict[str, dict[str, str]]:
    """Student -> cell -> what a human wrote there."""
    from nbgrader.api import Assignment as Row
    from nbgrader.api import BaseCell, Comment, SubmittedAssignment, SubmittedNotebook
    from sqlalchemy import select

    query = (
        select(SubmittedAssignment.student_id, BaseCell.name, Comment.manual_comment)
        .select_from(Comment.__table__)
        .join(BaseCell.__table__, BaseCell.id == Comment.cell_id)
        .join(SubmittedNotebook.__table__, SubmittedNotebook.id == Comment.notebook_id)
        .join(SubmittedAssignment.__table__, SubmittedAssignment.id == SubmittedNotebook.assignment_id)
        .join(Row.__table__, Row.id == SubmittedAssignment.assignment_id)
        .where(Row.name == homework, Comment.manual_comment.is_not(None))
    )
    found: dict[str, dict[str, str]] = {}
    for student, cell, comment in api.db.execute(query):
        if comment.strip():
            found.setdefault(student, {})[cell] = comment
    return found


def _grades(api: Any, homework: str) -> Any:
    from nbgrader.api import Assignment as Row
    from nbgrader.api import BaseCell, Grade, Student, SubmittedAssignment, SubmittedNotebook
    from sqlalchemy import select

    who = (Student.id, Student.first_name, Student.last_name)
    points = (Grade.auto_score, Grade.manual_score, Grade.extra_credit, Grade.needs_manual_grade)
    query = (
        select(*who, BaseCell.name, *points)
        .select_from(Grade.__table__)
        .join(BaseCell.__table__, BaseCell.id == Grade.cell_id)
        .join(SubmittedNotebook.__table__, SubmittedNotebook.id == Grade.notebook_id)
        .join(SubmittedAssignment.__table__, SubmittedAssignment.id == SubmittedNotebook.assignment_id)
        .join(Student.__table__, Student.id == SubmittedAssignment.student_id)
        .join(Row.__table__, Row.id == SubmittedAssignment.assignment_id)
        .where(Row.name == homework)
    )
    return api.db.execute(query)


def _cell_score(
    most: float, automatic: float | None, manual: float | None, extra: float | None, waits: bool | None
) -> CellScore:
    points = manual if manual is not None else automatic or 0.0
    return CellScore(float(points + (extra or 0.0)), most, automatic, manual, bool(waits))
