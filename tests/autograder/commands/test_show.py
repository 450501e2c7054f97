"""Reports in a terminal: readable without colour, harmless to the terminal."""

from __future__ import annotations

import io
import unicodedata

import pytest
from rich.console import Console

from autograder.commands.show import show_class, show_report, show_state
from autograder.feedback import brief
from autograder.records.state import State
from autograder.report import Report
from tests.autograder.report_factory import (
    PAYLOADS,
    REJECTED,
    TITLE,
    a_class,
    every_reason,
    hostile,
    infrastructure,
    typical,
)


def printed(report: Report, audience: str = "student", width: int = 100, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    show_report(report, TITLE, audience=audience, console=Console(file=file, width=width, color_system=None))
    file.flush()
    return raw.getvalue().decode(encoding)


def class_table(reports: list[Report], rejected: dict[str, str]) -> str:
    file = io.StringIO()
    show_class(map(brief, reports), rejected, TITLE, console=Console(file=file, width=110, color_system=None))
    return file.getvalue()


def words(shown: str) -> str:
    return " ".join(shown.split())


def test_a_report_without_colour_says_outcome_reason_points_and_hint() -> None:
    shown = printed(typical(), width=200)
    assert "5.4 of 7.5 automatic points; 4 points of theory wait for a human" in shown
    assert "8 of 11 checks passed, 1 partly, 2 failed." in shown
    assert "✓ passed" in shown
    assert "✗ failed" in shown
    assert "error: your code raised RuntimeError" in shown
    assert "cell 12, line 3: h = F.relu(self.fc1(x.flatten(1)))" in shown
    assert "Hint: The mask of the first layer" in shown
    assert "cell 16 `sns.set_theme()`: stopped with an error; NameError: name 'sns' is not defined" in shown


def test_only_the_ta_reads_the_detail() -> None:
    assert "assert 0.8213" not in printed(typical())
    assert "assert 0.8213" in printed(typical(), audience="ta")


def test_trouble_with_the_machine_is_not_the_students_fault() -> None:
    shown = words(printed(infrastructure(), width=200))
    assert "not your fault, and it will be graded again" in shown
    assert "the machine failed; no points are lost" in shown


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for report in (typical(), every_reason(), hostile()):
        assert max(len(line) for line in printed(report, "ta", width).splitlines()) <= width


def test_nothing_from_a_submission_reaches_the_terminal_but_readable_characters() -> None:
    shown = printed(hostile(), "ta") + class_table([hostile(p) for p in PAYLOADS], {p: p for p in PAYLOADS})
    unreadable = {c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co"} and c != "\n"}
    assert unreadable == set()
    assert "PWNED" in shown  # what can be read is still there
    assert "]0;PWNED" not in shown  # an escape sequence goes whole


def test_markup_of_the_terminal_library_stays_text() -> None:
    assert "[bold red]not markup[/bold red]" in words(printed(hostile(), width=2000))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_without_unicode_gets_plain_marks(encoding: str) -> None:
    shown = printed(typical(), encoding=encoding)
    assert "+ passed" in shown
    assert "x failed" in shown
    printed(hostile(), "ta", encoding=encoding)


def test_a_class_is_ordered_by_name_and_says_what_failed() -> None:
    shown = class_table([*a_class(5), infrastructure()], REJECTED)
    order = [shown.index(name) for name in ("Abel", "Agnesi", "Bayes", "Borel", "Cantor", "Grace Hopper")]
    assert order == sorted(order)
    assert "machine trouble, to be graded again" in shown
    assert "Not graded: knuth: two notebooks were handed in" in shown


def test_an_empty_class_is_shown_without_a_mean() -> None:
    assert "mean" not in class_table([], {})


def test_when_something_came_is_said_as_on_the_pages() -> None:
    stream = io.StringIO()
    state = State("ada", came="2026-10-13T09:30:00+00:00", submitted="2026-10-12T21:00:00+03:00", clock="a report")
    show_state(state, "Tiny", console=Console(file=stream, width=100))
    shown = words(stream.getvalue())
    assert "collected: 13 October 2026, 09:30 UTC" in shown
    assert "handed in: 12 October 2026, 18:00 UTC (a report)" in shown
