"""Which cell of the template a submitted cell is, however the notebook was mangled.

Four passes, each only over what the earlier ones left open: the grade_id in nbgrader's metadata (copies of a cell all
count), the cell id, the exact text, and last, within the gap between neighbours that were recognised, the share of the
template's lines that the cell still has. A Colab export that lost every metadata is recognised by the last two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from nbformat import NotebookNode

from autograder.homework import ipynb

STUBS = frozenset({"# YOUR CODE HERE", "raise NotImplementedError()", "YOUR ANSWER HERE"})  # nbgrader's
ENOUGH = 0.5  # share of the template's lines a filled cell must still have
LINES = 400  # of a cell that are compared

Match = list[int | None]


def align(submitted: Sequence[NotebookNode], template: Sequence[NotebookNode]) -> Match:
    """For each submitted cell the position of its template cell, or None for a cell the student added."""
    match: Match = [None] * len(submitted)
    _by_grade_id(match, submitted, template)
    _by_cell_id(match, submitted, template)
    _by_text(match, submitted, template)
    _by_lines(match, submitted, template)
    return match


def same_text(one: str, other: str) -> bool:
    """True if two sources differ in trailing blanks and blank ends at most."""
    return _normal(one) == _normal(other)


def _by_grade_id(match: Match, submitted: Sequence[NotebookNode], template: Sequence[NotebookNode]) -> None:
    wanted = {name: position for position, cell in enumerate(template) if (name := ipynb.grade_id(cell))}
    for index, cell in enumerate(submitted):
        match[index] = wanted.get(ipynb.grade_id(cell) or "")


def _by_cell_id(match: Match, submitted: Sequence[NotebookNode], template: Sequence[NotebookNode]) -> None:
    wanted = {cell["id"]: position for position, cell in _open(match, template) if cell.get("id")}
    for index, cell in enumerate(submitted):
        if match[index] is None:
            match[index] = wanted.pop(cell.get("id"), None)


def _by_text(match: Match, submitted: Sequence[NotebookNode], template: Sequence[NotebookNode]) -> None:
    free: dict[str, list[int]] = defaultdict(list)
    for index, cell in enumerate(submitted):
        if match[index] is None:
            free[_normal(cell.source)].append(index)
    last = -1
    for position, cell in _open(match, template):
        candidates = free.get(_normal(cell.source)) if cell.source.strip() else None
        if candidates:
            last = next((index for index in candidates if index > last), candidates[0])
            candidates.remove(last)
            match[last] = position


def _by_lines(match: Match, submitted: Sequence[NotebookNode], template: Sequence[NotebookNode]) -> None:
    lines = [_lines(cell.source) for cell in submitted]
    for position, cell in _open(match, template):
        if not ipynb.grade_id(cell) and not ipynb.tags(cell):
            continue
        gap = _gap(match, position)
        given = _lines(cell.source) - STUBS
        if given:
            share = {index: len(given & lines[index]) / len(given) for index in gap}
            best = max(share, key=lambda index: share[index], default=None)
            if best is not None and share[best] >= ENOUGH:
                match[best] = position
        elif cell.cell_type == "markdown":  # a bare place for an answer: what was written there
            for index in gap:
                if submitted[index].cell_type == "markdown":
                    match[index] = position


def _open(match: Match, template: Sequence[NotebookNode]) -> list[tuple[int, NotebookNode]]:
    """Template cells that nothing was recognised as yet."""
    found = set(match)
    return [(position, cell) for position, cell in enumerate(template) if position not in found]


def _gap(match: Match, position: int) -> list[int]:
    """Open submitted cells between a template cell's nearest recognised neighbours; all, if those are out of order."""
    before = max((p for p in match if p is not None and p < position), default=None)
    after = min((p for p in match if p is not None and p > position), default=None)
    start = -1 if before is None else max(index for index, p in enumerate(match) if p == before)
    stop = len(match) if after is None else min(index for index, p in enumerate(match) if p == after)
    if start >= stop:
        start, stop = -1, len(match)
    return [index for index in range(start + 1, stop) if match[index] is None]


def _normal(source: str) -> str:
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def _lines(source: str) -> set[str]:
    return {stripped for line in source.splitlines()[:LINES] if (stripped := line.strip())}
