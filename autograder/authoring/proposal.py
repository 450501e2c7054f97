"""A first proposal of what the cells of a notebook are for, as the mapping that `authoring.intake` reads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from nbformat import NotebookNode

from autograder.authoring.intake import read_notebook
from autograder.homework import ipynb

TRAINS = re.compile(r"\.backward\(\)|\.step\(\)|^(\w+ = )?(fit|train)\w*\(", re.MULTILINE)
IN_WORDS = re.compile(r"[*_#\s]*(answer|solution)\b", re.IGNORECASE)
HEAD = """\
# What each cell of {notebook} is for; cells that are not listed stay as they are. Say of a cell one of
#   task: NAME       an answer that checks grade, with `points: 2`, and lines to `hide: [3-5, 8]` (none: the whole cell)
#   by_hand: NAME    an answer in words or code that a human grades, with `points: 1`; `hide` as above
#   train: NAME      a training, run only where a check asks for it
#   locked: NAME     put back as it is before grading
#   leave_out: true
# Several cells may be answers of one task; one of them has the points.

"""


def propose(notebook: Path) -> str:
    """The text of a mapping to be looked through. Raises UserError if the notebook can not be read."""
    cells = read_notebook(notebook).cells
    used: set[str] = set()
    lines = [line for number, cell in enumerate(cells, start=1) for line in _of(number, cell, used)]
    if not lines:
        lines = ["  # nothing here looks like an answer: write a line for each cell that is one"]
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    heading = next((found[1] for text in texts if (found := re.search(r"^#+ (.+)$", text, re.MULTILINE))), "")
    title = yaml.safe_dump({"title": heading.strip() or notebook.stem}, allow_unicode=True, width=1000)
    return HEAD.format(notebook=notebook.name) + title + "cells:\n" + "\n".join(lines) + "\n"


def _of(number: int, cell: NotebookNode, used: set[str]) -> Iterator[str]:
    """The line of one cell; none if it seems to be for nothing in particular."""
    said = _from_nbgrader(cell, used) or _from_code(cell, used)
    if said:
        first = cell.source.split("\n")[0]
        begins = yaml.safe_dump(first[:40], default_style='"', allow_unicode=True, width=1000).strip()
        yield f"  - {{ cell: {number}, {said}, begins: {begins} }}"


def _from_nbgrader(cell: NotebookNode, used: set[str]) -> str:
    marks = ipynb.nbgrader_metadata(cell)
    name, points = str(marks.get("grade_id", "")), marks.get("points", 1)
    if not name:
        return ""
    if marks.get("grade") and marks.get("solution"):
        return f"by_hand: {_new(name, used)}, points: {points}"
    if marks.get("solution"):
        return f"task: {_new(name, used)}, points: 1"
    if marks.get("grade"):
        return "leave_out: true"  # the checks of the notebook's own stand in its place
    return f"locked: {_new(name, used)}" if marks.get("locked") else ""


def _from_code(cell: NotebookNode, used: set[str]) -> str:
    if cell.cell_type != "code":
        return f"by_hand: {_new('answer', used)}, points: 1" if IN_WORDS.match(cell.source) else ""
    try:
        tree = ast.parse(cell.source)
    except SyntaxError:  # a magic, say
        return ""
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    if defined:
        hidden = [] if "BEGIN SOLUTION" in cell.source else _bodies(tree)
        hide = f", hide: [{', '.join(hidden)}]" if hidden else ""
        return f"task: {_new(defined[0].name, used)}, points: 1{hide}"
    return f"train: {_new('training', used)}" if TRAINS.search(cell.source) else ""


def _bodies(tree: ast.Module) -> list[str]:
    """The lines of each function's body, its docstring left to students."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    found: list[tuple[int, int]] = []
    for node in sorted(functions, key=lambda node: node.lineno):
        body = node.body[1:] if ast.get_docstring(node) else node.body
        inside = any(first <= node.lineno <= last for first, last in found)
        if body and not inside and body[0].lineno > node.lineno:
            found.append((body[0].lineno, body[-1].end_lineno or body[-1].lineno))
    return [f"{first}-{last}" for first, last in found]


def _new(name: str, used: set[str]) -> str:
    """A name like this that is still free."""
    stem = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-") or "cell"
    free, copy = stem, 1
    while free in used:
        copy += 1
        free = f"{stem}-{copy}"
    used.add(free)
    return free
