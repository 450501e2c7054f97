"""What a class's points tell about the homework itself: how hard its tasks are, which tell students apart, which checks
fail for one reason in half the class.

Difficulty is the mean share of a task's points. Discrimination is the point-biserial correlation of having solved a
task, all its points, with the points of the rest of the homework: near 0 or below, the task tells nothing about who
knows the matter (Lord and Novick, Statistical Theories of Mental Test Scores, 1968, section 15.4).
"""

from __future__ import annotations

import math
import statistics
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autograder.feedback.brief import Brief
from autograder.feedback.classpage import CheckRow, Tally, check_rows
from autograder.feedback.text import STUMBLES

FEW = 5  # submissions below which no correlation and no share is said


@dataclass(frozen=True)
class TaskFigures:
    """One task of a homework."""

    cell: str
    most: float
    mean: float
    solved: int  # submissions with all its points
    graded: int
    discrimination: float | None  # None where all or none solved it, or too few handed in

    @property
    def words(self) -> str:
        """What an instructor should think about, if anything."""
        if self.graded < FEW:
            return ""
        if self.discrimination is not None and self.discrimination < 0.1:
            return "tells nothing about who knows the rest"
        return "nobody solved it" if not self.solved else "everybody solved it" if self.solved == self.graded else ""


@dataclass(frozen=True)
class Suspect:
    """A check on which half the class stumbles for the same reason: a sign of a bad check."""

    title: str
    task: str
    reason: str
    failed: int
    graded: int


@dataclass(frozen=True)
class HomeworkFigures:
    """One homework of a course, as its class did."""

    name: str
    graded: int
    most: float
    mean: float | None
    median: float | None
    seconds: float  # students' code took, all together
    longest: float  # of one submission
    tasks: Sequence[TaskFigures]
    checks: Sequence[CheckRow]  # that failed somewhere, most often first
    suspects: Sequence[Suspect]


def homework_figures(
    name: str, cells: Mapping[str, float], points: Sequence[Mapping[str, float]], briefs: Iterable[Brief]
) -> HomeworkFigures:
    """The figures of one homework.

    Args:
        cells: the most of each task.
        points: for each student, those of every task, whoever gave them.
        briefs: of the reports.
    """
    totals = [math.fsum(mine.values()) for mine in points]
    tally = Tally.of(briefs)
    took = tally.stages.get("charged") or tally.stages.get("total") or array("d")
    checks = [row for row in check_rows(tally) if row.failed]
    return HomeworkFigures(
        name=name,
        graded=len(points),
        most=math.fsum(cells.values()),
        mean=statistics.fmean(totals) if totals else None,
        median=statistics.median(totals) if totals else None,
        seconds=math.fsum(took),
        longest=max(took, default=0.0),
        tasks=[_task(cell, most, points) for cell, most in cells.items()],
        checks=checks,
        suspects=[suspect for row in checks if (suspect := _suspect(row))],
    )


def point_biserial(solved: Sequence[bool], rest: Sequence[float]) -> float | None:
    """The correlation of a yes or no with numbers; None where either does not vary, or there are too few."""
    yes = [value for value, is_solved in zip(rest, solved, strict=True) if is_solved]
    no = [value for value, is_solved in zip(rest, solved, strict=True) if not is_solved]
    spread = statistics.pstdev(rest) if len(rest) >= FEW else 0.0
    if not yes or not no or not spread > 1e-12:
        return None
    share = len(yes) / len(rest)
    return (statistics.fmean(yes) - statistics.fmean(no)) / spread * math.sqrt(share * (1 - share))


def _task(cell: str, most: float, points: Sequence[Mapping[str, float]]) -> TaskFigures:
    mine = [(student.get(cell, 0.0), math.fsum(v for c, v in student.items() if c != cell)) for student in points]
    solved = [got >= most for got, _ in mine]
    mean = statistics.fmean([got for got, _ in mine]) if mine else 0.0
    return TaskFigures(cell, most, mean, sum(solved), len(mine), point_biserial(solved, [rest for _, rest in mine]))


def _suspect(row: CheckRow) -> Suspect | None:
    if row.graded < FEW or not row.reasons:
        return None
    reason, count = row.reasons[0]
    if reason == "part" or 2 * count < row.graded:
        return None
    return Suspect(row.title, row.task, STUMBLES[reason], int(count), row.graded)
