"""What people gave in formgrader, taken from the gradebook into the record, from where pages and summaries read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autograder.records.gradebook import Book, CellScore, StudentScore
from autograder.records.record import Record


def take_over(record: Record, book: Book, scores: Mapping[str, StudentScore]) -> None:
    """Bring the record up to what stands in the gradebook.

    Args:
        scores: student -> what was earned there in the record's homework.
    """
    comments = book.comments(record.homework)
    for who, before in record.by_hand():
        mine, score = comments.get(who, {}), scores.get(who)
        found = {
            name: given
            for name, cell in ({} if score is None else score.cells).items()
            if (given := _given(cell, mine.get(name, ""))) is not None
        }
        if found != before:
            record.change(who, by_hand=found)


def _given(cell: CellScore, comment: str) -> list[Any] | None:
    if cell.manual is not None or cell.points != (cell.automatic or 0.0):
        return [cell.points, comment, cell.needs_manual]
    return [None, comment, False] if comment else None
