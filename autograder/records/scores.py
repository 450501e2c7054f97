"""`scores.csv`: one row a student, safe to open in a spreadsheet or a terminal."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from autograder.course.course import Course
from autograder.feedback import Known, Theory
from autograder.feedback.text import line
from autograder.homework.assignment import Assignment
from autograder.records.gradebook import Book, StudentScore
from autograder.report import exact, write_atomically

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # the last four as typed in East Asia

SPLIT = re.compile(r"([;,|\t\r\n\"]\s*)(?=[=+\-@])")


def total(score: StudentScore) -> Fraction:
    """Points of all cells, exactly; a cell that waits for a human counts with what it has."""
    return sum((exact(cell.points) for cell in score.cells.values()), Fraction(0))


def write_scores(course: Course, assignments: Sequence[Assignment], statuses: Mapping[str, str] | None = None) -> Path:
    """Write `scores.csv` of the course from its gradebook, whole or not at all, and return its path.

    Args:
        assignments: whose cells become columns, called `<assignment>/<cell>`.
        statuses: overrides the column `status` of a student ("rejected: the file is empty").

    Raises:
        UserError: the gradebook cannot be read.
    """
    with Book(course.gradebook_url) as book:
        found = [{score.student: score for score in book.read_scores(assignment)} for assignment in assignments]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = [f"{assignment.name}/{cell}" for assignment in assignments for cell in assignment.cells]
    writer.writerow(["student", "name", "total", "max", "status", "needs_manual", *map(safe, columns)])
    highest = float(sum((exact(assignment.points) for assignment in assignments), Fraction(0)))
    for student in sorted({*course.roster, *(student for scores in found for student in scores)}):
        scores = [by_student.get(student) for by_student in found]
        handed_in = [score for score in scores if score is not None]
        name = course.roster.get(student) or next((score.name for score in handed_in), "")
        status = (statuses or {}).get(student) or _status(handed_in)
        waiting = [key for score in handed_in for key, cell in score.cells.items() if cell.needs_manual]
        points = f"{float(sum(map(total, handed_in), Fraction(0))):g}" if handed_in else ""
        cells = [_points(score, key) for a, score in zip(assignments, scores, strict=True) for key in a.cells]
        words = [safe(line(text)) for text in (status, " ".join(waiting))]
        writer.writerow([safe(student), safe(line(name)), points, f"{highest:g}", *words, *cells])
    write_atomically(course.scores_path, buffer.getvalue())
    return course.scores_path


def known_people(course: Course, assignment: Assignment) -> dict[str, Known]:
    """Names, and the state of what is graded by hand, of everybody who handed a homework in.

    Raises:
        UserError: the gradebook cannot be read.
    """
    with Book(course.gradebook_url) as book:
        scores = book.read_scores(assignment)
    return {
        score.student: Known(course.roster.get(score.student) or score.name, _theory(score, assignment))
        for score in scores
    }


def _theory(score: StudentScore, assignment: Assignment) -> Theory | None:
    cells = [score.cells[cell] for cell in assignment.manual if cell in score.cells]
    if not cells:
        return None
    earned, most = (
        sum((exact(value) for value in column), Fraction(0))
        for column in ([cell.points for cell in cells], [cell.max_points for cell in cells])
    )
    return Theory(float(earned), float(most), sum(cell.needs_manual for cell in cells))


def safe(text: str) -> str:
    """Text that no spreadsheet takes for a formula, wherever it splits the row."""
    text = SPLIT.sub(r"\1'", text)
    return f"'{text}" if text.lstrip(" \u00a0\ufeff").startswith(FORMULA) or text.startswith(FORMULA) else text


def _status(scores: Sequence[StudentScore]) -> str:
    if not scores:
        return "nothing handed in"
    waits = any(cell.needs_manual for score in scores for cell in score.cells.values())
    return "waits for a human" if waits else "graded"


def _points(score: StudentScore | None, cell: str) -> str:
    return "" if score is None or cell not in score.cells else f"{score.cells[cell].points:g}"
