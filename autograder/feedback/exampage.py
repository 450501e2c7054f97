"""The page of an oral exam to print: each student's questions on a card of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autograder.feedback.html import render


@dataclass(frozen=True)
class Card:
    """What one student draws."""

    student: str
    name: str
    questions: Sequence[tuple[int, str, str]]  # number, topic, text


def exam_page(title: str, cards: Sequence[Card]) -> str:
    """The page as a string."""
    return render("exam.html", title=title, cards=cards)
