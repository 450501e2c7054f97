"""Make a homework's template notebook from its solution: the same file with the answers cut out.

The source is a jupytext percent script whose cell headers say what each is for. nbgrader's own preprocessors cut the
answers, lock the cells and compute the checksums. A cell tagged `package` becomes the engine's own first cell,
which installs what `check("…")` needs. Cell ids follow from the grade_id or the text, never from chance, so making a
template twice gives the same bytes and inserting a cell leaves the ids of the others alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.authoring.soundness import faults
from autograder.errors import UserError
from autograder.homework import ipynb
from autograder.homework.files import HomeworkFiles
from autograder.homework.first_cell import GRADE_ID, files_at_of
from autograder.homework.profiles import limits_text
from autograder.homework.settings import AssignmentConfig
from autograder.judge.model_answers import read_solution
from autograder.report import write_atomically
from autograder.yamlfile import load_yaml

LIMITS = "limits"  # tag of a text cell that says what grading allows, from assignment.yaml


def build_template(solution: Path, files_at: str = "", limits: str = "", files: Sequence[str] = ()) -> NotebookNode:
    """The template made from a solution script.

    Args:
        files_at: URL of the folder where the released files lie; none if empty.
        limits: text of the cells tagged `limits` (`homework.profiles`); where it is empty they keep their own.
        files: names of the data files released with it.

    Raises:
        UserError: the script is not sound; every fault is a sentence.
    """
    from nbgrader.nbgraderformat import ValidationError
    from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ClearSolutions, ComputeChecksums, LockCells

    if found := faults(solution):
        raise UserError("\n".join(found))
    notebook = read_solution(solution, files_at, files)
    try:
        for step in (CheckCellMetadata, ClearSolutions, ClearOutput, LockCells, ComputeChecksums):
            tool = step()
            tool.log.disabled = True  # what it would log is raised as well
            notebook, _ = tool.preprocess(notebook, {})
    except (RuntimeError, ValueError, KeyError, ValidationError) as error:
        raise UserError(f"{solution}: {error}") from None
    nbformat.validate(notebook)
    assert isinstance(notebook, NotebookNode)
    if not limits:
        return notebook
    cells = [replaced(cell, limits) if LIMITS in ipynb.tags(cell) else cell for cell in notebook.cells]
    return with_cells(notebook, cells)


def write_template(homework: HomeworkFiles, files_at: str | None = None) -> Path:
    """Make `assignments/<name>/<name>.ipynb` from the solution, and return its path.

    Args:
        files_at: URL of the folder where the released files will lie, for notebooks that are opened alone; None for
            the one that the template there has.

    Raises:
        UserError: the solution is not sound.
    """
    target = homework.template()
    here = target.read_text(encoding="utf-8") if target.is_file() else ""
    config = load_yaml(homework.config, AssignmentConfig)
    url = _kept_url(here) if files_at is None else files_at
    text = ipynb.to_text(build_template(homework.solution, url, limits_text(config), config.files))
    if here != text:
        write_atomically(target, text)
    return target


def _kept_url(template: str) -> str:
    if not template:
        return ""
    cells = ipynb.parse(template.encode())[0].cells
    return next((files_at_of(cell.source) for cell in cells if ipynb.grade_id(cell) == GRADE_ID), "")


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
