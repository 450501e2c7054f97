"""The notebook a human grades from: `autograded/<student>/hw1/hw1.ipynb`, as nbgrader's formgrader reads it.

It has the template's cells in the template's order with the student's answers in them, the student's own cells where
they stood, what the checks said to the student below each graded cell, and nbgrader's metadata, so that formgrader puts
its boxes in the right places. nbgrader makes feedback for students from it: nothing that only a TA may read lies here.
Formgrader shows markdown as HTML; whatever in a student's text could run in a browser is disarmed.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nbformat import NotebookNode

from autograder.homework import ipynb
from autograder.homework.align import align
from autograder.homework.restore import is_filled
from autograder.records.disarm import disarm
from autograder.report import CheckResult, Report

MENTION = "attachment:"
NAME_ENDS = frozenset(")\"'> \n")
LONGEST_NAME = 300  # characters of an attachment's name as it is written


def seen_answers(path: Path) -> dict[str, str]:
    """A hash of every answer in the notebook that a human has seen; none if there is no such notebook."""
    try:
        return dict(json.loads(path.read_bytes())["metadata"]["autograder"]["answers"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def digests(answers: Mapping[str, str]) -> dict[str, str]:
    """A hash of every answer."""
    return {name: _digest(text) for name, text in answers.items()}


def for_humans(
    submitted: NotebookNode, template: NotebookNode, answers: Mapping[str, str], report: Report
) -> NotebookNode:
    """The notebook as a human should see it: the same submission and report give the same one."""
    match = align(submitted.cells, template.cells)
    followers: dict[int, list[NotebookNode]] = {}
    anchor = -1
    for index, position in enumerate(match):
        if position is not None:
            anchor = position
        else:
            followers.setdefault(anchor, []).append(submitted.cells[index])
    cells: list[dict[str, Any]] = list(map(_own, followers.get(-1, [])))
    for position, original in enumerate(template.cells):
        copies = [submitted.cells[index] for index, found in enumerate(match) if found == position]
        if ipynb.grade_id(original) or not copies:
            cells.append(_cell(original, copies, report))
        else:
            cells += map(_own, copies)
        cells += map(_own, followers.get(position, []))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook = ipynb.as_notebook(cells)
    notebook.metadata = notebook.metadata | {"autograder": {"answers": digests(answers)}}
    return notebook


def _cell(original: NotebookNode, copies: list[NotebookNode], report: Report) -> NotebookNode:
    cell = copy.deepcopy(original)
    marks = ipynb.nbgrader_metadata(cell)
    name = ipynb.grade_id(cell)
    if marks.get("grade") and marks.get("solution"):
        answered = [given for given in copies if is_filled(given, original)]
        if answered:
            _write(cell, answered)
    elif marks.get("solution"):
        answered = [given for given in copies if is_filled(given, original)]
        cell.source = "\n\n".join(given.source for given in answered) or original.source
    elif marks.get("grade") and name is not None:
        said = "".join(map(_line, (check for check in report.checks if check.cell == name)))
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": said}] if said else []
    return cell


def _write(cell: dict[str, Any], texts: Sequence[NotebookNode]) -> None:
    """Put what a student wrote, and the pictures in it, into a text cell."""
    parts: list[str] = []
    pictures: dict[str, dict[str, str]] = {}
    for given in texts:
        plain: dict[str, str] = {}
        for name, bundle in given.get("attachments", {}).items():
            plain[name] = plain[quote(name)] = f"picture-{len(pictures)}"
            pictures[plain[name]] = bundle
        parts.append(disarm(_renamed(given.source, plain)).strip())
    cell["source"] = "\n\n".join(parts)
    if pictures:
        cell["attachments"] = pictures


def _renamed(source: str, plain: Mapping[str, str]) -> str:
    """A text whose attachments have plain names, gone through once."""
    if not plain:
        return source
    first, *rest = source.split(MENTION)
    parts = [first]
    for piece in rest:
        ends = [at for at, char in enumerate(piece[:LONGEST_NAME]) if char in NAME_ENDS]
        name = next((piece[:at] for at in [*ends, len(piece)] if piece[:at] in plain), "")
        parts.append(MENTION + plain.get(name, "") + piece[len(name) :])
    return "".join(parts)


def _own(cell: NotebookNode) -> dict[str, Any]:
    kind = "code" if cell.cell_type == "code" else "markdown"
    own: dict[str, Any] = {"cell_type": kind, "metadata": {}, "id": ""}
    if kind == "code":
        own |= {"source": cell.source, "outputs": [], "execution_count": None}
    else:
        _write(own, [cell])
    return own


def _line(check: CheckResult) -> str:
    earned = f"{check.points * check.fraction:g}/{check.points:g}"
    text = f"{check.outcome:8} {earned:>9}  {check.title}\n"
    for extra in (check.message, check.where, check.hint):
        if extra:
            text += "".join(f"{'':20}{line}\n" for line in extra.splitlines())
    return "".join(char for char in text if char.isprintable() or char == "\n")


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
