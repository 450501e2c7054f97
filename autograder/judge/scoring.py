"""From outcomes to points: exact sums, and nothing that is silent passes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from autograder.homework.assignment import Assignment
from autograder.report import CellResult, CheckResult, exact

SHARE = Fraction(1, 10**6)  # of a point; what is lost when points are split over the parameters of a check


def complete(
    assignment: Assignment, results: Sequence[CheckResult], only: frozenset[str] | None = None
) -> list[CheckResult]:
    """Results in the order of the cells; a check that left no result is the machine's failure, never a pass."""
    order = list(assignment.cells)
    silent = []
    for check in assignment.checks:
        if only is not None and check.cell not in only:
            continue
        mine = [result for result in results if result.id == check.name or result.id.startswith(f"{check.name}[")]
        left = exact(check.points) - sum((exact(result.points) for result in mine), Fraction(0))
        if mine and left < SHARE:
            continue
        silent.append(
            CheckResult(
                id=check.name, cell=check.cell, title=check.title, public=check.public, points=float(left),
                fraction=0.0, outcome="infrastructure", message="the check left no result",
            )
        )  # fmt: skip
    names = [check.name for check in assignment.checks]

    def place(result: CheckResult) -> tuple[int, int]:
        return order.index(result.cell), names.index(result.id.partition("[")[0])

    return sorted([*results, *silent], key=place)


def score(assignment: Assignment, results: Sequence[CheckResult]) -> list[CellResult]:
    """Points per cell: exact sums of points times fractions, rounded half up to a hundredth, never above the cell's."""
    cells = []
    for name, cell in assignment.cells.items():
        mine = [result for result in results if result.cell == name]
        broken = any(result.outcome == "infrastructure" for result in mine)
        total = sum((exact(r.points) * Fraction(r.fraction).limit_denominator(1000) for r in mine), Fraction(0))
        earned: float | None = min(cell.points, float(Fraction(int(total * 100 + Fraction(1, 2)), 100)))
        if all(result.fraction == 1.0 for result in mine):
            earned = cell.points
        if cell.manual or broken or not mine:
            earned = None
        cells.append(CellResult(cell=name, title=cell.title, max_points=cell.points, manual=cell.manual, earned=earned))
    return cells
