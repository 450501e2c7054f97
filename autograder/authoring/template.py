"""Make a homework's template notebook from its solution: the same file with the answers cut out.

The source is a jupytext percent script with nbgrader's metadata in its cell headers. nbgrader's own preprocessors cut
the answers, lock the cells and compute the checksums. A cell tagged `package` becomes the engine's own first cell,
which installs what `check("…")` needs. Cell ids follow from the grade_id or the text, never from chance, so making a
template twice gives the same bytes and inserting a cell leaves the ids of the others alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.authoring.first_cell import GRADE_ID, first_cell
from autograder.errors import UserError
from autograder.homework import ipynb

SCHEMA = 3  # of nbgrader's cell metadata
FIRST = "package"  # tag of the cell in whose place the engine's own first cell stands


def read_solution(path: Path, files_at: str = "") -> NotebookNode:
    """The solution as a notebook with complete nbgrader metadata, answers included.

    Args:
        files_at: URL of the folder where the released files lie; known once a course releases the homework.
    """
    import jupytext

    try:
        source = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None
    try:
        script = jupytext.reads(source, fmt="py:percent")
    except Exception as error:  # jupytext raises whatever its parsers raise
        raise UserError(f"{path} is not a percent script: {error}.") from None
    cells: list[dict[str, Any]] = [_plain_cell(cell, files_at) for cell in script.cells]
    for cell, identifier in zip(cells, _identifiers(cells), strict=True):
        cell["id"] = identifier
    return ipynb.as_notebook(cells)


def build_template(solution: Path, files_at: str = "") -> NotebookNode:
    """The template made from a solution script. Raises UserError naming the file if the script is not sound."""
    from nbgrader.nbgraderformat import ValidationError
    from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ClearSolutions, ComputeChecksums, LockCells

    notebook = read_solution(solution, files_at)
    try:
        for step in (CheckCellMetadata, ClearSolutions, ClearOutput, LockCells, ComputeChecksums):
            tool = step()
            tool.log.disabled = True  # what it would log is raised as well
            notebook, _ = tool.preprocess(notebook, {})
    except (RuntimeError, ValueError, KeyError, ValidationError) as error:
        raise UserError(f"{solution}: {_where(read_solution(solution))}{error}") from None
    nbformat.validate(notebook)
    assert isinstance(notebook, NotebookNode)
    return notebook


def _plain_cell(cell: NotebookNode, files_at: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    source = cell.source
    if FIRST in cell.metadata.get("tags", []):
        source = first_cell(files_at)
        marks = {"grade": False, "solution": False, "locked": True, "task": False}
        metadata["nbgrader"] = marks | {"grade_id": GRADE_ID, "schema_version": SCHEMA}
    if cell.metadata.get("tags"):
        metadata["tags"] = list(cell.metadata["tags"])
    if cell.metadata.get("nbgrader"):
        marks = {"grade": False, "solution": False, "locked": False, "task": False} | dict(cell.metadata["nbgrader"])
        metadata["nbgrader"] = marks | {"schema_version": SCHEMA}
    plain: dict[str, Any] = {"cell_type": cell.cell_type, "source": source, "metadata": metadata}
    if cell.cell_type == "code":
        plain |= {"outputs": [], "execution_count": None}
    return plain


def _identifiers(cells: list[dict[str, Any]]) -> list[str]:
    used: set[str] = set()
    result = []
    for cell in cells:
        marks = cell["metadata"].get("nbgrader", {})
        name = str(marks.get("grade_id") or hashlib.sha256(str(cell["source"]).encode()).hexdigest()[:12])
        stem = re.sub(r"[^A-Za-z0-9_-]", "-", name)[:56]
        identifier, copy = stem, 1
        while identifier in used:
            copy += 1
            identifier = f"{stem}-{copy}"
        used.add(identifier)
        result.append(identifier)
    return result


def _where(notebook: NotebookNode) -> str:
    """The first cell whose solution markers do not pair up, as the beginning of a sentence."""
    for number, cell in enumerate(notebook.cells, start=1):
        marks = re.findall(r"(BEGIN|END) SOLUTION", cell.source)
        if marks and (
            marks != ["BEGIN", "END"] * (len(marks) // 2) or not ipynb.nbgrader_metadata(cell).get("solution")
        ):
            return f"cell {number} ({cell.source.splitlines()[0][:60]!r}): "
    return ""


def with_cells(notebook: NotebookNode, cells: Sequence[NotebookNode]) -> NotebookNode:
    """The same notebook with other cells."""
    return _node({**notebook, "cells": list(cells)})


def code_cell(source: str, identifier: str) -> NotebookNode:
    """A code cell as a student adds one."""
    outputs: list[object] = []
    known = {"id": identifier, "cell_type": "code", "source": source}
    return _node({**known, "metadata": {}, "outputs": outputs, "execution_count": None})


def replaced(cell: NotebookNode, source: str) -> NotebookNode:
    """The same cell with another text."""
    return _node({**cell, "source": source})


def _node(value: dict[str, object]) -> NotebookNode:
    made = nbformat.from_dict(value)
    assert isinstance(made, NotebookNode)
    return made
