"""The instructor's own answers as a notebook: what a template is cut from, and what a check is tried on.

A solution is a jupytext percent script whose headers say what a cell is for (nbgrader's own metadata is read too):

    # %% answer="double-answer"                    an answer that checks grade: students get it cut out
    # %% graded="double" points=2                  `check("double")`, which carries the points of the task
    # %% [markdown] by_hand="why" points=1         an answer in words, which a human grades
    # %% locked="setup"                            put back as it is before grading
    # %% tags=["train", "train:line"]              run only where a check asks for this training

A cell tagged `package` becomes the engine's own first cell, which installs what `check("…")` needs; one tagged `rubric`
is for graders only.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from autograder.errors import UserError
from autograder.homework import ipynb
from autograder.homework.first_cell import GRADE_ID, first_cell

SCHEMA = 3  # of nbgrader's cell metadata
FIRST = "package"  # tag of the cell in whose place the engine's own first cell stands
RUBRIC = "rubric"  # tag of what only a grader reads (`judge.rubrics`)
REPEATS = "repeats given code"
MARKS = {"grade": False, "solution": False, "locked": False, "task": False}
ROLES: Mapping[str, Mapping[str, bool]] = {
    "answer": {"solution": True},
    "graded": {"grade": True, "locked": True},
    "by_hand": {"grade": True, "solution": True},
    "locked": {"locked": True},
}
KNOWN = (*ROLES, "points", "tags", "nbgrader")  # what a header may say


def read_solution(path: Path, files_at: str = "", files: Sequence[str] = ()) -> NotebookNode:
    """The solution as a notebook with complete nbgrader metadata, answers included and rubrics left out.

    Args:
        files_at: URL of the folder where the released files lie; known once a course releases the homework.
        files: names of the data files released with it.
    """
    cells = read_cells(path, files_at, files)
    return ipynb.as_notebook([cell for cell in cells if RUBRIC not in ipynb.tags(cell)])


def read_cells(path: Path, files_at: str = "", files: Sequence[str] = ()) -> list[NotebookNode]:
    """All cells of the solution, rubrics included. Raises UserError naming the file."""
    script = enumerate(read_script(path).cells, start=1)
    cells = [_plain_cell(cell, files_at, files, f"{path}: cell {number}") for number, cell in script]
    for cell, identifier in zip(cells, _identifiers(cells), strict=True):
        cell["id"] = identifier
    return list(ipynb.as_notebook(cells).cells)


def read_script(path: Path) -> NotebookNode:
    """A percent script as jupytext reads it. Raises UserError if it can not be read."""
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
    assert isinstance(script, NotebookNode)
    return script


def split_answer(cell: NotebookNode) -> tuple[list[tuple[list[str], bool]], list[str]]:
    """The answers in a solution cell, each its lines and whether it repeats given code, and the lines around them."""
    lines = cell.source.split("\n")
    if not ipynb.nbgrader_metadata(cell).get("solution"):
        return [], lines
    if "BEGIN SOLUTION" not in cell.source:
        return [(lines, False)], []
    answers: list[tuple[list[str], bool]] = []
    around: list[str] = []
    inside = False
    for line in lines:
        if "BEGIN SOLUTION" in line:
            inside = True
            answers.append(([], REPEATS in line))
        elif "END SOLUTION" in line:
            inside = False
        else:
            (answers[-1][0] if inside else around).append(line)
    return answers, around


def _plain_cell(cell: NotebookNode, files_at: str, files: Sequence[str], place: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    source = cell.source
    if FIRST in cell.metadata.get("tags", []):
        source = first_cell(files_at, files)
        marks = MARKS | {"locked": True}
        metadata["nbgrader"] = marks | {"grade_id": GRADE_ID, "schema_version": SCHEMA}
    if cell.metadata.get("tags"):
        metadata["tags"] = list(cell.metadata["tags"])
    if given := _marks(cell.metadata, place):
        metadata["nbgrader"] = MARKS | given | {"schema_version": SCHEMA}
    plain: dict[str, Any] = {"cell_type": cell.cell_type, "source": source, "metadata": metadata}
    if cell.cell_type == "code":
        plain |= {"outputs": [], "execution_count": None}
    return plain


def _marks(header: Mapping[str, Any], place: str) -> dict[str, Any]:
    """nbgrader's metadata of a cell, from its short header or as it is written out; {} of a cell without."""
    for key in header:
        if key not in KNOWN and (meant := difflib.get_close_matches(key, KNOWN, n=1)):
            raise UserError(f"{place} has `{key}` in its header; did you mean `{meant[0]}`?")
    roles = [role for role in ROLES if role in header]
    if len(roles) > 1:
        raise UserError(f"{place} is {' and '.join(f'`{role}`' for role in roles)}; a cell has one of them.")
    if not roles:
        if "points" in header:
            raise UserError(f'{place} has `points` but is neither `graded="…"` nor `by_hand="…"`.')
        return dict(header.get("nbgrader") or {})
    points = {"points": header["points"]} if "points" in header else {}
    return {**ROLES[roles[0]], "grade_id": header[roles[0]], **points}


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
