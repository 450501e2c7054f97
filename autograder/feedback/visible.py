"""What a student may read of a report, and when: the homework's `feedback:`."""

from __future__ import annotations

from fractions import Fraction

from autograder.feedback import text
from autograder.feedback.remarks import Remarks
from autograder.homework.settings import LATER, POINTS, FeedbackRule
from autograder.report import CellResult, Report, exact

ONLY_POINTS = "Of this homework points are shown, and not what the checks say."


def visible(report: Report, rule: FeedbackRule, remarks: Remarks) -> Report:
    """The part of a report that its student may read now."""
    if rule == POINTS:
        return report.model_copy(update={"checks": [], "runs": [], "notes": [*report.notes, ONLY_POINTS]})
    hidden = sum(not check.public for check in report.checks)
    if rule != LATER or remarks.over or not hidden:
        return report
    public = report.model_copy(update={"checks": [check for check in report.checks if check.public]})
    cells = [_of_public(cell, public) for cell in report.cells]
    note = (
        f"{text.count(hidden, 'hidden check')} of this homework {'is' if hidden == 1 else 'are'} shown after the "
        f"deadline ({remarks.deadline}); the points here are those of the public ones."
    )
    shown = [cell for cell in cells if cell is not None]
    return public.model_copy(update={"cells": shown, "notes": [*report.notes, note]})


def _of_public(cell: CellResult, report: Report) -> CellResult | None:
    """A cell with the points of the checks that are left; None if none are."""
    mine = [check for check in report.checks if check.cell == cell.cell]
    if cell.manual or not mine:
        return cell if cell.manual else None
    earned = sum(map(text.earned, mine), Fraction(0))
    worth = sum((exact(check.points) for check in mine), Fraction(0))
    return cell.model_copy(update={"earned": float(earned), "max_points": float(worth)})
