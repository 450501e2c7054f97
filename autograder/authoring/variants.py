"""Variants of a solution: what the audit grades to see whether an assignment is fair and sharp.

solutions/hwN/variants/right_*.py    right answers written differently: the cells they replace
solutions/hwN/variants/wrong*.yaml   wrong answers: two-line edits of the solution, with the cells each must lose
solutions/hwN/variants/cheat_*.py    cheats, built on the blank template
solutions/cheats/*.py                cheats that fit every homework
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from nbformat import NotebookNode
from pydantic import Field

from autograder.authoring.template import build_template, replaced, with_cells
from autograder.authoring.variant_files import VariantFile, apply, read_variant_file
from autograder.errors import UserError
from autograder.homework import ipynb
from autograder.homework.files import HomeworkFiles
from autograder.judge.model_answers import read_solution
from autograder.submission import Submission
from autograder.yamlfile import StrictModel, load_yaml, parse_yaml

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


class WrongConfig(StrictModel):
    """One wrong answer of `wrong.yaml`."""

    name: str
    why: str  # one sentence: what a student does
    loses: list[str] = Field(min_length=1)  # the cells that lose points, and no others do
    edits: list[Edit] = Field(default=[])
    cells: dict[str, str] = Field(default={})  # grade_id -> whole source, where an edit does not say it


class WrongFile(StrictModel):
    """`wrong.yaml`."""

    wrong: list[WrongConfig]


@dataclass(frozen=True)
class Variant:
    """A submission whose grade is known."""

    name: str
    kind: VariantKind
    why: str
    submission: Submission
    loses: frozenset[str] = frozenset()  # of a wrong one
    earns: float = 0.0  # of a cheat: what its honest part is worth
    harmful: bool = False  # could harm a machine outside a container
    seconds: float | None = None  # grading it must take no longer than this
    shared: bool = False  # a cheat that fits every homework


def load_variants(homework: HomeworkFiles) -> list[Variant]:
    """Every submission with a known grade: solution, blank, the homework's own variants, the shared cheats.

    Raises:
        UserError: an edit's text is not there exactly once, a cell is unknown, or a name is used twice.
    """
    answers = read_solution(homework.solution)
    template = build_template(homework.solution)
    own = _files(homework.variants)
    found = [
        Variant("solution", "solution", "the instructor's own answers", submission_of("solution", answers)),
        Variant("blank", "blank", "the template, untouched", submission_of("blank", template)),
        *(_right(read_variant_file(path, "right"), answers) for path in own["right"]),
        *(variant for path in own["wrong"] for variant in _wrong(path, answers)),
        *(_cheat(read_variant_file(path, "cheat"), template) for path in own["cheat"]),
        *shared_cheats(homework.cheats, template),
    ]
    names = [variant.submission.student for variant in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{homework.variants}: two variants are called `{name}`.")
    return found


def shared_cheats(folder: Path, template: NotebookNode) -> Iterator[Variant]:
    """One variant for each file of `folder`."""
    for path in sorted(folder.glob("*.py")):
        yield _cheat(read_variant_file(path, "cheat"), template, shared=True)


def _files(folder: Path) -> dict[str, list[Path]]:
    """The files of a homework's variants, by kind."""
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist; it holds right_*.py, wrong.yaml and cheat_*.py.")
    found: dict[str, list[Path]] = {"right": [], "wrong": [], "cheat": []}
    for path in sorted(folder.iterdir()):
        kind = re.match(r"(right|cheat)_.*\.py$|(wrong).*\.ya?ml$", path.name)
        if kind:
            found[kind[1] or kind[2]].append(path)
        elif path.suffix in (".py", ".yaml", ".yml"):
            raise UserError(f"{path}: variants are files called right_*.py, wrong*.yaml and cheat_*.py.")
    return found


def _right(file: VariantFile, answers: NotebookNode) -> Variant:
    return Variant(file.name, "right", file.why, submission_of(file.name, apply(answers, file)))


def _cheat(file: VariantFile, template: NotebookNode, *, shared: bool = False) -> Variant:
    return Variant(
        file.name, "cheat", file.why, submission_of(file.name, apply(template, file)),
        earns=file.facts.EARNS, harmful=file.facts.HARMFUL, seconds=file.facts.SECONDS, shared=shared,
    )  # fmt: skip


def _wrong(path: Path, answers: NotebookNode) -> Iterator[Variant]:
    _, lines = parse_yaml(path)
    for number, config in enumerate(load_yaml(path, WrongFile).wrong):
        submission = submission_of(config.name, edited(answers, config, f"{path}, line {lines['wrong', number]}"))
        yield Variant(config.name, "wrong", config.why, submission, loses=frozenset(config.loses))


def edited(base: NotebookNode, config: Edited, place: str) -> NotebookNode:
    """The notebook with a variant's edits. Raises UserError naming the place, variant and cell."""
    cells = {name: cell for cell in base.cells if (name := ipynb.grade_id(cell))}
    sources = dict(config.cells)
    for name in [*sources, *(edit.cell for edit in config.edits)]:
        if name not in cells:
            raise UserError(f"{place}: `{config.name}` edits the cell `{name}`, which the solution does not have.")
    for edit in config.edits:
        source = sources.get(edit.cell, cells[edit.cell].source)
        count = source.count(edit.find)
        if count != 1:
            where = f"{place}: `{config.name}` looks for {edit.find!r} in `{edit.cell}`"
            there = [name for name, cell in cells.items() if edit.find in cell.source]
            hint = f"; it is in `{there[0]}`" if there and not count else ""
            raise UserError(f"{where}, where it stands {count} times{hint}.")
        sources[edit.cell] = source.replace(edit.find, edit.replace)
    return with_cells(base, [replaced(c, sources.get(ipynb.grade_id(c) or "", c.source)) for c in base.cells])


def submission_of(name: str, notebook: NotebookNode) -> Submission:
    """A variant as if somebody of its name had handed it in."""
    return Submission.of(re.sub(r"[^A-Za-z0-9_-]", "-", name), ipynb.to_text(notebook).encode())
