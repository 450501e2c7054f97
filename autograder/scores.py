"""`scores.csv`: one row a student, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from autograder.assignment import Assignment
from autograder.gradebook import StudentScore
from autograder.report import exact, write_atomically

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def total(score: StudentScore) -> Fraction:
    """Points of all cells, exactly; a cell that waits for a human counts with what it has."""
    return sum((exact(cell.points) for cell in score.cells.values()), Fraction(0))


def write_scores(
    path: Path,
    assignment: Assignment,
    scores: Sequence[StudentScore],
    roster: Mapping[str, str],
    statuses: Mapping[str, str] | None = None,
) -> None:
    """Write the table, whole or not at all.

    Args:
        scores: of the students who handed in, from the gradebook.
        roster: id -> full name; whoever has no score is listed with an empty row.
        statuses: overrides the column `status` of a student ("rejected: the file is empty").
    """
    by_student = {score.student: score for score in scores}
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ["student", "name", "total", "max", "status", "needs_manual", *(safe(cell) for cell in assignment.cells)]
    )
    for student in sorted({*roster, *by_student}):
        score = by_student.get(student)
        name = roster.get(student) or (score.name if score else "")
        status = (statuses or {}).get(student) or _status(score)
        waiting = [] if score is None else [key for key, cell in score.cells.items() if cell.needs_manual]
        cells = [_points(score, key) for key in assignment.cells]
        points = "" if score is None else f"{float(total(score)):g}"
        writer.writerow(
            [safe(student), safe(name), points, f"{assignment.points:g}", safe(status), safe(" ".join(waiting)), *cells]
        )
    write_atomically(path, buffer.getvalue())


def safe(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip(" \u00a0\ufeff").startswith(FORMULA) or text.startswith(FORMULA) else text


def _status(score: StudentScore | None) -> str:
    if score is None:
        return "nothing handed in"
    return "waits for a human" if any(cell.needs_manual for cell in score.cells.values()) else "graded"


def _points(score: StudentScore | None, cell: str) -> str:
    return "" if score is None or cell not in score.cells else f"{score.cells[cell].points:g}"
