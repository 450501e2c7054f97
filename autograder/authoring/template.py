"""Make a homework's template notebook from its solution: the same file with the answers cut out.

The source is a jupytext percent script with nbgrader's metadata in its cell headers. nbgrader's own preprocessors cut
the answers, lock the cells and compute the checksums. A cell tagged `package` becomes the engine's own first cell,
which installs what `check("…")` needs. Cell ids follow from the grade_id or the text, never from chance, so making a
template twice gives the same bytes and inserting a cell leaves the ids of the others alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.errors import UserError
from autograder.homework import ipynb
from autograder.judge.model_answers import read_solution

LIMITS = "limits"  # tag of a text cell that says what grading allows, from assignment.yaml


def build_template(solution: Path, files_at: str = "", limits: str = "", files: Sequence[str] = ()) -> NotebookNode:
    """The template made from a solution script.

    Args:
        files_at: URL of the folder where the released files lie; none if empty.
        limits: text of the cells tagged `limits` (`homework.profiles`); where it is empty they keep their own.
        files: names of the data files released with it.

    Raises:
        UserError: the script is not sound; the sentence names the file.
    """
    from nbgrader.nbgraderformat import ValidationError
    from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ClearSolutions, ComputeChecksums, LockCells

    notebook = read_solution(solution, files_at, files)
    try:
        for step in (CheckCellMetadata, ClearSolutions, ClearOutput, LockCells, ComputeChecksums):
            tool = step()
            tool.log.disabled = True  # what it would log is raised as well
            notebook, _ = tool.preprocess(notebook, {})
    except (RuntimeError, ValueError, KeyError, ValidationError) as error:
        raise UserError(f"{solution}: {_where(read_solution(solution))}{error}") from None
    nbformat.validate(notebook)
    assert isinstance(notebook, NotebookNode)
    if not limits:
        return notebook
    cells = [replaced(cell, limits) if LIMITS in ipynb.tags(cell) else cell for cell in notebook.cells]
    return with_cells(notebook, cells)


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
