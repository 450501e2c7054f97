"""What a submission may say in all: one budget for everything its cells and checks leave in the report.

A megabyte, counted as the report is written, in JSON: a control character takes six bytes. What does not fit is cut,
and the text says so. Output has its own part, so that it cannot use up the room of errors or of messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from autograder.report import CellRun, CheckResult, Figure

OUTPUT, ERRORS, MESSAGES, DETAILS, NOTES = 350_000, 200_000, 250_000, 150_000, 50_000  # parts of it
FIGURES = 500_000  # numbers that are drawn
LEFT_OUT = "… (the rest was left out)"
FIRST_LEFT_OUT = "(what came before was left out) …"
ROOM = 64  # bytes that either sentence takes, at most
SAID = ("message", "where", "hint", "full", "detail")  # of a check; the last is for the TA and has its own part


def written(text: str) -> int:
    """Bytes that a text takes in a report, without its quotes."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")) - 2


class Purse:
    """One part of the budget."""

    def __init__(self, room: int) -> None:
        self._left = room
        self.cut = 0  # texts that did not fit

    def take(self, text: str, *, end: bool = False) -> str:
        """The text, cut to what is left; with `end` its end is kept."""
        size = written(text)
        if size <= self._left:
            self._left -= size
            return text
        self.cut += 1
        room = self._left - ROOM
        kept = _longest(text, room, end) if room > 0 else ""
        self._left = max(0, self._left - written(kept) - ROOM)
        return f"{FIRST_LEFT_OUT}{kept}" if end and kept else f"{kept}{LEFT_OUT}"


class Said:
    """The budget of one submission, spent as its cells run and its checks end."""

    def __init__(self) -> None:
        self._output, self._errors = Purse(OUTPUT), Purse(ERRORS)
        self._messages, self._details, self._notes = Purse(MESSAGES), Purse(DETAILS), Purse(NOTES)
        self._drawn, self._left_out = FIGURES, 0

    def anew(self) -> Said:
        """For another report on the same run: what its cells said is spent."""
        budget = Said()
        budget._output, budget._errors = self._output, self._errors
        return budget

    def run(self, run: CellRun) -> CellRun:
        """A cell's account within the budget."""
        error = None if run.error is None else self._errors.take(run.error)
        notes = self._several(run.notes, self._errors)
        stdout = self._output.take(run.stdout, end=True) if run.stdout else ""
        return run.model_copy(update={"error": error, "notes": notes, "stdout": stdout})

    def check(self, result: CheckResult) -> CheckResult:
        """A check's result within the budget; a picture that does not fit is left out."""
        texts: dict[str, Any] = {name: getattr(result, name) for name in SAID if getattr(result, name)}
        purses = {"detail": self._details}
        fitting: dict[str, Any] = {name: purses.get(name, self._messages).take(text) for name, text in texts.items()}
        figures = [figure for figure in result.figures if self._draws(figure)]
        return result.model_copy(update=fitting | {"figures": figures})

    def notes(self, notes: Iterable[str]) -> list[str]:
        """Notes on the whole submission within the budget, and one on what was cut."""
        kept = self._several(notes, self._notes)
        cut = {
            "output": self._output.cut,
            "errors and notes": self._errors.cut,
            "messages of checks": self._messages.cut,
        }
        parts = [f"{name} ({number} texts)" for name, number in cut.items() if number]
        parts += [f"pictures ({self._left_out})"] * bool(self._left_out)
        if parts:
            kept.append(f"Your notebook says more than a report holds; left out in part: {', '.join(parts)}.")
        return kept

    def _draws(self, figure: Figure) -> bool:
        """Whether there is room for a picture."""
        size = sum(map(_numbers, figure.panels.values()))
        fits = size <= self._drawn
        self._drawn -= size if fits else 0
        self._left_out += not fits
        return fits

    def _several(self, notes: Iterable[str], purse: Purse) -> list[str]:
        """Notes as long as they fit; the first that does not is the last."""
        kept = []
        for note in notes:
            before = purse.cut
            kept.append(purse.take(note))
            if purse.cut > before:
                break
        return kept


def _numbers(panel: list[Any]) -> int:
    """How many numbers nested lists hold."""
    total, waiting = 0, [panel]
    while waiting:
        item = waiting.pop()
        inner = [part for part in item if isinstance(part, list)]
        total += len(item) - len(inner)
        waiting += inner
    return total


def _longest(text: str, room: int, end: bool) -> str:
    """The longest beginning, or end, of a text that takes no more than `room` bytes."""
    low, high = 0, min(len(text), room)
    while low < high:
        middle = (low + high + 1) // 2
        part = text[len(text) - middle :] if end else text[:middle]
        low, high = (middle, high) if written(part) <= room else (low, middle - 1)
    return text[len(text) - low :] if end else text[:low]
