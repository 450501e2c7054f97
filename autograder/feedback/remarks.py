"""What people and the course's rules add to a report: points given by hand, and what being late costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from autograder.feedback import text
from autograder.report import Report, exact


@dataclass(frozen=True)
class Given:
    """Points that a person gave a cell in the place of those of the checks."""

    points: float
    why: str
    at: str  # ISO 8601
    by: str  # who, for the staff


@dataclass(frozen=True)
class Remarks:
    """All of it, of one student's homework."""

    late: str = ""  # a sentence; "" where there is nothing to say
    percent: Fraction = Fraction(0)  # of the points that being late costs
    given: Mapping[str, Given] = field(default_factory=dict)  # by cell

    def lines(self, *, staff: bool) -> list[str]:
        """For people: what a page, a terminal and the list of the class say."""
        said = [self.late] if self.late else []
        for cell, one in self.given.items():
            who = f" by {one.by}" if staff else ""
            said.append(f"`{cell}` was given {text.points(one.points)} points{who}, {text.moment(one.at)}: {one.why}")
        return said


NOTHING = Remarks()


def amended(report: Report, remarks: Remarks) -> Report:
    """The report with the points that people gave; what the checks found stays as it was."""
    if not remarks.given:
        return report
    cells = [
        cell.model_copy(update={"earned": remarks.given[cell.cell].points}) if cell.cell in remarks.given else cell
        for cell in report.cells
    ]
    return report.model_copy(update={"cells": cells})


def taken_off(earned: float, remarks: Remarks) -> Fraction:
    """Points that being late costs of those earned."""
    return exact(earned) * remarks.percent / 100
