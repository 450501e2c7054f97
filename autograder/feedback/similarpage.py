"""Pages of submissions that share more than the task: a list, and two columns of code for each pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autograder.feedback.html import render


@dataclass(frozen=True)
class Stretch:
    """A piece of one submission's code."""

    place: str  # "cell 12"
    lines: Sequence[tuple[str, int | None]]  # and the shared part each lies in

    @property
    def first(self) -> int:
        """The least number of a shared part in it; -1 if nothing is shared."""
        return min((part for _, part in self.lines if part is not None), default=-1)

    @property
    def matches(self) -> bool:
        """True if any of it is shared."""
        return any(part is not None for _, part in self.lines)


@dataclass(frozen=True)
class Side:
    """One submission of a pair."""

    who: str
    stretches: Sequence[Stretch]

    @property
    def in_order(self) -> list[Stretch]:
        """The stretches by the parts they share, so that the same stand beside each other."""
        return sorted(self.stretches, key=lambda stretch: stretch.first)


def list_page(title: str, rows: Sequence[tuple[str, str, str, float, int]], number: int) -> str:
    """The ranked list.

    Args:
        rows: link, the two, the share from 0 to 1, and how many runs of tokens they have in common.
        number: of all pairs that share anything.
    """
    return render("similar.html", title=title, rows=rows, number=number)


def pair_page(title: str, share: float, one: Side, other: Side) -> str:
    """Two columns of code, what both have in the same colour and with the same number."""
    return render("pair.html", title=title, share=share, sides=[one, other])
