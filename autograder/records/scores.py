"""`scores.csv`: one row a student, safe to open in a spreadsheet or a terminal."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from autograder.course.course import Course
from autograder.feedback import Known, Remarks, Theory
from autograder.feedback.text import line
from autograder.homework.assignment import Assignment
from autograder.records.gradebook import StudentScore
from autograder.records.record import Record
from autograder.records.standing import Entered, earned_of, entered_now
from autograder.report import exact, write_atomically

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # the last four as typed in East Asia

SPLIT = re.compile(r"([;,|\t\r\n\"]\s*)(?=[=+\-@])")


def write_scores(course: Course, record: Record, entered: Entered | None = None) -> Path:
    """Write `scores.csv` of the course, whole or not at all, unless it is as it should be.

    Points come from the gradebook, which is brought up to what people decided, everything else from the record: no file
    of a homework is read, so that a broken one hinders nobody. Its columns are called `<homework>/<cell>`, and
    `<homework>/late` for the points that being late costs, which are taken off `total`.

    Args:
        entered: what the gradebook says, if somebody has just read it.

    Raises:
        UserError: the gradebook cannot be read.
    """
    homeworks, sentences, reported = record.homeworks(), record.sentences(), record.graded()
    entered = entered or entered_now(course, record)
    scores = entered.scores
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = [f"{name}/{cell}" for name, cells in homeworks.items() for cell in cells]
    dated = [name for name in homeworks if name in course.config.due]
    writer.writerow(
        [
            "student",
            "name",
            "total",
            "max",
            "status",
            "needs_manual",
            *map(safe, columns),
            *(f"{name}/late" for name in dated),
        ]
    )
    highest = (
        f"{float(sum((exact(points) for cells in homeworks.values() for points in cells.values()), Fraction(0))):g}"
    )
    for student in sorted({*course.roster, *sentences, *(student for found in scores.values() for student in found)}):
        mine = {name: found[student] for name, found in scores.items() if student in found}
        name = course.roster.get(student) or next((score.name for score in mine.values()), "")
        graded = [score for name, score in mine.items() if name in reported.get(student, ())]
        waiting = [key for score in graded for key, cell in score.cells.items() if cell.needs_manual]
        status = _status(sentences.get(student, {}), bool(graded), bool(waiting), len(homeworks) > 1)
        late, earned = entered.late.get(student, {}), {name: earned_of(score) for name, score in mine.items()}
        off = {name: late[name].cost(earned[name]) for name in mine if name in late}
        points = f"{float(sum(earned.values(), Fraction(0)) - sum(off.values())):g}" if mine else ""
        cells = [_points(mine.get(homework), key) for homework, keys in homeworks.items() for key in keys]
        words = [safe(line(text)) for text in (status, " ".join(waiting))]
        lost = [f"{float(-off[name]):g}" if off.get(name) else "0" if name in off else "" for name in dated]
        writer.writerow([safe(student), safe(line(name)), points, highest, *words, *cells, *lost])
    text = buffer.getvalue()
    if not course.scores_path.is_file() or course.scores_path.read_text(encoding="utf-8") != text:
        write_atomically(course.scores_path, text)
    return course.scores_path


def known_people(
    course: Course, assignment: Assignment, entered: Entered, remarks: Mapping[str, Remarks]
) -> dict[str, Known]:
    """Names, and the state of what is graded by hand, of everybody of whom there is a report."""
    return {
        who: Known(course.roster.get(who) or score.name, _theory(score, assignment), remarks[who])
        for who, score in entered.scores.get(assignment.name, {}).items()
        if who in remarks
    }


def _theory(score: StudentScore, assignment: Assignment) -> Theory | None:
    cells = [score.cells[cell] for cell in assignment.manual if cell in score.cells]
    if not cells:
        return None
    earned, most = _sum(tuple(cell.points for cell in cells)), _sum(tuple(cell.max_points for cell in cells))
    return Theory(earned, most, sum(cell.needs_manual for cell in cells))


@lru_cache(4096)
def _sum(values: tuple[float, ...]) -> float:
    """Added up exactly; in a large class many have the same points."""
    return float(sum(map(exact, values), Fraction(0)))


def safe(text: str) -> str:
    """Text that no spreadsheet takes for a formula, wherever it splits the row."""
    text = SPLIT.sub(r"\1'", text)
    return f"'{text}" if text.lstrip(" \u00a0\ufeff").startswith(FORMULA) or text.startswith(FORMULA) else text


def _status(sentences: Mapping[str, str], graded: bool, waits: bool, several: bool) -> str:
    """Where a student stands, and of each homework that was not graded why."""
    if sentences:
        return " ".join(f"{name}: {said}" if several else said for name, said in sentences.items())
    if not graded:
        return "nothing handed in"
    return "waits for a human" if waits else "graded"


def _points(score: StudentScore | None, cell: str) -> str:
    return "" if score is None or cell not in score.cells else f"{score.cells[cell].points:g}"
