"""What is wrong with the cells of a solution, said of the cell before nbgrader cuts the template from it.

nbgrader stops at the first fault with words about its own metadata; here every fault is a sentence that names the line,
the cell and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from autograder.homework import ipynb
from autograder.judge.model_answers import RUBRIC, read_cells

MARKER = re.compile(r"(BEGIN|END) SOLUTION")
HEADER = re.compile(r"^# %%", re.MULTILINE)
NAME = re.compile(r"[A-Za-z0-9_-]+")


def faults(solution: Path) -> list[str]:
    """One sentence for each fault of a solution script. Raises UserError if it can not be read."""
    cells = read_cells(solution)
    lines = [text.count("\n", 0, found.start()) + 1 for text in [_text(solution)] for found in HEADER.finditer(text)]
    seen: dict[str, str] = {}
    found = []
    for number, cell in enumerate(cells, start=1):
        line = f", line {lines[number - 1]}" if len(lines) == len(cells) else ""
        first = cell.source.split("\n")[0][:60]
        place = f"{solution}{line}: cell {number} ({first!r})"
        if RUBRIC in ipynb.tags(cell):
            continue
        marks = ipynb.nbgrader_metadata(cell)
        sentences = [*_of_regions(cell, marks)]
        if any(marks.get(mark) for mark in ("grade", "solution", "locked")):
            sentences += [*_of_marks(cell, marks), *_of_name(marks.get("grade_id"), f"cell {number}", seen)]
        found += [f"{place} {sentence}" for sentence in sentences]
    return found


def _of_regions(cell: NotebookNode, marks: dict[str, Any]) -> Iterator[str]:
    """Solution regions that do not pair up, or stand where nothing is cut."""
    inside = 0  # the line on which the open region begins
    words = [(i, m[1]) for i, line in enumerate(cell.source.split("\n"), 1) if (m := MARKER.search(line))]
    for number, word in words:
        if word == "BEGIN" and inside:
            yield f"begins a solution again on its line {number}; end the one of line {inside} first: ### END SOLUTION."
        elif word == "END" and not inside:
            yield f"ends a solution on its line {number} that none begins; write ### BEGIN SOLUTION above it."
        inside = number if word == "BEGIN" else 0
    if inside:
        yield f"begins a solution on its line {inside} and never ends it; write ### END SOLUTION below the answer."
    if words and not marks.get("solution"):
        role = 'by_hand="NAME" points=…' if cell.cell_type == "markdown" else 'answer="NAME"'
        yield f"has a solution but is no answer, so students would get it; write {role} into its header."


def _of_marks(cell: NotebookNode, marks: dict[str, Any]) -> Iterator[str]:
    """Points, and what text may be."""
    points = marks.get("points")
    if marks.get("grade") and points is None:
        yield "is graded but has no points; write points=… into its header, 0 if it is worth none."
    elif marks.get("grade") and (isinstance(points, bool) or not isinstance(points, int | float) or points < 0):
        yield f"has points {points!r}; a number of points is needed."
    if cell.cell_type == "markdown" and bool(marks.get("grade")) != bool(marks.get("solution")):
        yield 'is text, which only a human can grade; write by_hand="NAME" points=… into its header.'


def _of_name(name: object, place: str, seen: dict[str, str]) -> Iterator[str]:
    """Names that are missing, not a name, or there twice."""
    if not isinstance(name, str) or not name:
        yield "has no name (grade_id); write one into its header."
    elif not NAME.fullmatch(name):
        yield f"is called {name!r}; a name has letters, digits, - and _ only."
    elif name in seen:
        yield f"is called `{name}`, and so is {seen[name]}; names differ."
    else:
        seen[name] = place


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
