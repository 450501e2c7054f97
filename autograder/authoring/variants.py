"""Variants of a solution: what the audit grades to see whether an assignment is fair and sharp.

`solutions/hwN/variants.yaml` lists differently written right answers, wrong answers with the cells each must lose,
and cheats. A variant is a small edit of the solution's cells, or whole cells. Cheats that fit every homework live as
scripts in `solutions/cheats/`: their code stands at the end of every answer of the blank template.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from nbformat import NotebookNode
from pydantic import Field

from autograder.authoring.template import build_template, replaced, with_cells
from autograder.errors import UserError
from autograder.homework import ipynb
from autograder.homework.files import HomeworkFiles
from autograder.judge.model_answers import read_solution
from autograder.submission import Submission
from autograder.yamlfile import StrictModel, load_yaml

VariantKind = Literal["solution", "right", "wrong", "blank", "cheat"]


class Edit(StrictModel):
    """Replace text that stands exactly once in a cell."""

    cell: str  # grade_id
    find: str = Field(min_length=1)
    replace: str


class Edited(Protocol):
    """An entry of a file of variants: its edits, or whole cells."""

    @property
    def name(self) -> str: ...
    @property
    def edits(self) -> list[Edit]: ...
    @property
    def cells(self) -> dict[str, str]: ...


class VariantConfig(StrictModel):
    """One entry of `variants.yaml`."""

    name: str
    kind: Literal["right", "wrong", "cheat"]
    why: str  # one sentence: what a student does
    edits: list[Edit] = Field(default=[])
    cells: dict[str, str] = Field(default={})  # grade_id -> whole source
    loses: list[str] = Field(default=[])  # of a wrong variant: the cells that lose points, and no others do
    earns: float = 0  # of a cheat: what its honest part is worth
    base: Literal["solution", "blank"] = "solution"


class VariantsFile(StrictModel):
    """`variants.yaml`."""

    variants: list[VariantConfig]


@dataclass(frozen=True)
class Variant:
    """A submission whose grade is known."""

    name: str
    kind: VariantKind
    why: str
    submission: Submission
    loses: frozenset[str] = frozenset()
    earns: float = 0.0
    harmful: bool = False  # could harm a machine outside a container
    seconds: float | None = None  # grading it must take no longer than this


def load_variants(homework: HomeworkFiles) -> list[Variant]:
    """Every submission with a known grade: solution, blank, the variants of `variants.yaml`, the shared cheats.

    Raises:
        UserError: an edit's text is not there exactly once, a cell is unknown, or a name is used twice.
    """
    answers = read_solution(homework.solution)
    template = build_template(homework.solution)
    found = [
        Variant("solution", "solution", "the instructor's own answers", submission_of("solution", answers)),
        Variant("blank", "blank", "the template, untouched", submission_of("blank", template)),
    ]
    for config in load_yaml(homework.variants, VariantsFile).variants:
        notebook = edited(answers if config.base == "solution" else template, config, homework.variants)
        submission = submission_of(config.name, notebook)
        loses = frozenset(config.loses)
        found.append(Variant(config.name, config.kind, config.why, submission, loses, config.earns))
    found += shared_cheats(homework.cheats, template)
    names = [variant.submission.student for variant in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{homework.variants}: two variants are called `{name}`.")
    return found


def shared_cheats(folder: Path, template: NotebookNode) -> Iterator[Variant]:
    """One variant per script in `folder`; its docstring says what it tries.

    `HARMFUL` scripts need a container, `ONCE` puts the code in the first answer alone, `SECONDS` bounds the grading.
    """
    for path in sorted(folder.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source, str(path))
        facts = {
            target.id: ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id in ("HARMFUL", "SECONDS", "ONCE")
        }
        cells = list(template.cells)
        marks = [ipynb.nbgrader_metadata(cell) if cell.cell_type == "code" else {} for cell in cells]
        answers = [i for i, mark in enumerate(marks) if mark.get("solution")]
        for i in answers[:1] if facts.get("ONCE") else answers:
            cells[i] = replaced(cells[i], f"{cells[i].source}\n\n\n{source}")
        notebook = with_cells(template, cells)
        yield Variant(
            name=path.stem.replace("_", "-"),
            kind="cheat",
            why=(ast.get_docstring(tree) or path.stem).splitlines()[0],
            submission=submission_of(path.stem, notebook),
            harmful=bool(facts.get("HARMFUL", False)),
            seconds=facts.get("SECONDS"),
        )


def edited(base: NotebookNode, config: Edited, path: Path) -> NotebookNode:
    """The notebook with a variant's edits. Raises UserError naming file, variant and cell."""
    cells = {str(ipynb.nbgrader_metadata(c).get("grade_id")): c for c in base.cells if ipynb.nbgrader_metadata(c)}
    sources = dict(config.cells)
    for name in [*sources, *(edit.cell for edit in config.edits)]:
        if name not in cells:
            raise UserError(f"{path}: `{config.name}` edits the cell `{name}`, which the solution does not have.")
    for edit in config.edits:
        source = sources.get(edit.cell, cells[edit.cell].source)
        count = source.count(edit.find)
        if count != 1:
            where = f"{path}: `{config.name}` looks for {edit.find!r} in `{edit.cell}`"
            raise UserError(f"{where}; it is there {count} times.")
        sources[edit.cell] = source.replace(edit.find, edit.replace)
    return with_cells(
        base,
        [
            replaced(cell, sources.get(str(ipynb.nbgrader_metadata(cell).get("grade_id")), cell.source))
            for cell in base.cells
        ],
    )


def submission_of(name: str, notebook: NotebookNode) -> Submission:
    """A variant as if somebody of its name had handed it in."""
    return Submission.of(re.sub(r"[^A-Za-z0-9_-]", "-", name), ipynb.to_text(notebook).encode())
