"""What people and the course's rules add to a report: points given by hand, and what being late costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
class ByHand:
    """What somebody gave a cell in formgrader.

    Args:
        points: None if nobody has looked at it yet, or it was left as it was.
        comment: to the student.
        again: what they were given for has changed since.
        blank: there is no answer, which earns nothing before anybody looks.
    """

    points: float | None
    comment: str = ""
    again: bool = False
    blank: bool = False


@dataclass(frozen=True)
class Remarks:
    """All of it, of one student's homework."""

    late: str = ""  # a sentence; "" where there is nothing to say
    percent: Fraction = Fraction(0)  # of the points that being late costs
    given: Mapping[str, Given] = field(default_factory=dict)  # by cell
    by_hand: Mapping[str, ByHand] = field(default_factory=dict)  # by cell
    handed_in: str = ""  # when, in words
    several: str = ""  # of several hand-ins which one counts, in sentences
    newer: str = ""  # why something handed in later was not graded, a sentence
    deadline: str = ""  # of whoever has the most time, in words
    over: bool = False  # it is
    extended: bool = False  # it is later than that of the course

    def points(self, cell: str) -> float | None:
        """What a person gave a cell; None if nobody did."""
        if cell in self.given:
            return self.given[cell].points
        return self.by_hand[cell].points if cell in self.by_hand else None

    def with_blanks(self, answered: Mapping[str, bool]) -> Remarks:
        """With the cells graded by hand that have no answer, which the course does not know before they are read."""
        blank = {cell: ByHand(0.0, blank=True) for cell, there in answered.items() if not there}
        marked = {cell: one for cell, one in self.by_hand.items() if not one.blank}
        return replace(self, by_hand=blank | marked)

    def lines(self, *, staff: bool) -> list[str]:
        """For people: what a page, a terminal and the list of the class say."""
        said = [sentence for sentence in (self.several, self.late) if sentence]
        for cell, one in self.given.items():
            who = f" by {one.by}" if staff else ""
            said.append(f"`{cell}` was given {text.amount(one.points)}{who}, {text.moment(one.at)}: {one.why}")
        return said


NOTHING = Remarks()


def amended(report: Report, remarks: Remarks) -> Report:
    """The report with the points that people gave; what the checks found stays as it was."""
    cells = []
    for cell in report.cells:
        points = remarks.points(cell.cell)
        cells.append(cell if points is None else cell.model_copy(update={"earned": points}))
    return report.model_copy(update={"cells": cells})


def theory(report: Report) -> tuple[Fraction, Fraction]:
    """Points that people gave for what is graded by hand, and those that they could have."""
    read = [cell for cell in report.cells if cell.manual and cell.earned is not None]
    earned, most = (
        [exact(value or 0) for value in column]
        for column in ([cell.earned for cell in read], [cell.max_points for cell in read])
    )
    return sum(earned, Fraction(0)), sum(most, Fraction(0))


def taken_off(earned: Fraction, remarks: Remarks) -> Fraction:
    """Points that being late costs of those earned."""
    return earned * remarks.percent / 100
