"""What people gave in formgrader, taken from the gradebook into the record, from where pages and summaries read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autograder.records.gradebook import Book, CellScore
from autograder.records.record import Record


def take_over(record: Record, book: Book, cells: Mapping[str, float]) -> list[str]:
    """Bring the record up to what stands in the gradebook; returns the students of whom something has changed.

    Args:
        cells: of the record's homework, and their points.
    """
    comments = book.comments(record.homework)
    scores = {score.student: score.cells for score in book.read_scores(record.homework, cells)}
    changed = []
    for state in list(record.states()):
        found = {
            name: given
            for name, cell in scores.get(state.who, {}).items()
            if (given := _given(cell, comments.get(state.who, {}).get(name, ""))) is not None
        }
        if found != state.by_hand:
            record.change(state.who, by_hand=found)
            changed.append(state.who)
    return changed


def _given(cell: CellScore, comment: str) -> list[Any] | None:
    if cell.manual is not None or cell.points != (cell.automatic or 0.0):
        return [cell.points, comment, cell.needs_manual]
    return [None, comment, False] if comment else None
