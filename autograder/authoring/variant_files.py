"""Right answers and cheats as files: percent scripts that hold only the cells they replace.

    \"\"\"Writes everything with plain loops.\"\"\"          what a student does, in a sentence

    # %% made-masks-solution                            the grade_id of a cell of the solution
    def made_masks(n_dims, hidden_sizes): ...

`variants/right_NAME.py` replaces cells of the solution, `variants/cheat_NAME.py` of the blank template, and so does a
file of `solutions/cheats/`, whose cheats fit every homework. What stands in a cheat before its first cell is put at the
end of every answer. Constants there say what is known of it: `EARNS` is what its honest part is worth, `SECONDS` bounds
the grading, `HARMFUL` cheats need a container, `ONCE` puts the code in the first answer alone.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nbformat import NotebookNode
from pydantic import Field, ValidationError

from autograder.authoring.template import replaced, with_cells
from autograder.errors import UserError
from autograder.homework import ipynb
from autograder.judge.model_answers import read_script
from autograder.yamlfile import StrictModel


class Facts(StrictModel):
    """The constants of a cheat."""

    EARNS: float = Field(default=0.0, ge=0)
    SECONDS: float | None = Field(default=None, gt=0)
    HARMFUL: bool = False
    ONCE: bool = False


@dataclass(frozen=True)
class VariantFile:
    """One file, read."""

    path: Path
    why: str
    head: str  # code before the first cell, docstring and constants included; empty if there is nothing else
    cells: Mapping[str, str]  # grade_id -> whole source
    facts: Facts

    @property
    def name(self) -> str:
        return self.path.stem.replace("_", "-")


def read_variant_file(path: Path, kind: Literal["right", "cheat"]) -> VariantFile:
    """Read a right answer or a cheat.

    Raises:
        UserError: it is no percent script, does not say why, has a cell without a name or the same cell twice, or is
            a right answer with code outside its cells.
    """
    head, cells = _split(path)
    try:
        tree = ast.parse(head, str(path))
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}.") from None
    why = (ast.get_docstring(tree) or "").split("\n")[0]
    if not why:
        raise UserError(f"{path}: it begins with no docstring; write in a sentence what a student does.")
    constants = {name: value for node in tree.body for name, value in _constants(node)}
    try:
        facts = Facts.model_validate(constants)
    except ValidationError as error:
        raise UserError(f"{path}: `{error.errors()[0]['loc'][0]}`: {error.errors()[0]['msg']}.") from None
    code = [node for node in tree.body[1:] if not any(_constants(node))]
    if kind == "right" and (code or constants or not cells):
        raise UserError(f"{path}: a right answer has its docstring, and then cells headed `# %% GRADE-ID`.")
    if not code and not cells:
        raise UserError(f"{path}: a cheat has code below its docstring, or cells headed `# %% GRADE-ID`.")
    return VariantFile(path, why, head if code else "", cells, facts)


def apply(base: NotebookNode, file: VariantFile) -> NotebookNode:
    """The notebook with the file's cells, and its head at the end of the answers.

    Raises:
        UserError: the notebook lacks one of the cells.
    """
    known = {ipynb.grade_id(cell) for cell in base.cells}
    if missing := [name for name in file.cells if name not in known]:
        raise UserError(f"{file.path}: the solution has no cell `{missing[0]}`.")
    cells = [replaced(cell, file.cells.get(ipynb.grade_id(cell) or "", cell.source)) for cell in base.cells]
    marks = [ipynb.nbgrader_metadata(cell) if cell.cell_type == "code" else {} for cell in cells]
    answers = [i for i, mark in enumerate(marks) if mark.get("solution")] if file.head else []
    for i in answers[:1] if file.facts.ONCE else answers:
        cells[i] = replaced(cells[i], f"{cells[i].source}\n\n\n{file.head}")
    return with_cells(base, cells)


def _split(path: Path) -> tuple[str, dict[str, str]]:
    """The code before the first named cell, and the named cells."""
    head, cells = "", dict[str, str]()
    for number, cell in enumerate(read_script(path).cells, start=1):
        name = str(cell.metadata.get("title", "")).strip()
        if name in cells:
            raise UserError(f"{path}: the cell `{name}` is there twice.")
        if name:
            cells[name] = cell.source
        elif number == 1:
            head = cell.source
        else:
            raise UserError(f"{path}: cell {number} has no name; write `# %% GRADE-ID` above it.")
    return head, cells


def _constants(node: ast.stmt) -> list[tuple[str, Any]]:
    """What a line like `SECONDS = 30` says; nothing of any other line."""
    if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)):
        return []
    names = [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [(name, node.value.value) for name in names if name in Facts.model_fields]
