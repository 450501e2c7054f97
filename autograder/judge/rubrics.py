"""What a human grades by: of each hand-graded cell the parts its points fall into, and a model answer.

A rubric is a text cell of the solution tagged `rubric`, below the hand-graded cell it belongs to. Each item begins with
the points it is worth; a paragraph is a note to the graders:

    # %% [markdown] tags=["rubric"]
    # - 0.2 adds and subtracts ln p and names the divergence
    # - 0.15 says why it is not negative
    #
    # An answer by Gibbs' inequality earns both.

The model answer is what stands between BEGIN and END SOLUTION in the cell itself. Neither is in the template, a
release, a sandbox or a file that students' pages are made from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from nbformat import NotebookNode

from autograder.errors import UserError
from autograder.homework import ipynb
from autograder.homework.assignment import Assignment
from autograder.judge.model_answers import RUBRIC, read_cells, split_answer
from autograder.report import exact

STEP = Fraction(1, 20)  # part points are multiples of it
ITEM = re.compile(r"[-*]\s+(.*)")
WORTH = re.compile(r"(\d+(?:\.\d+)?)\s*[:.)]?\s+(\S.*)")


@dataclass(frozen=True)
class Part:
    """One item of a rubric."""

    points: float
    says: str


@dataclass(frozen=True)
class Rubric:
    """How one hand-graded cell is graded.

    Args:
        parts: what earns points; empty where the solution gives no rubric.
        notes: to the graders, markdown.
        answer: the model answer, markdown.
    """

    cell: str
    parts: tuple[Part, ...]
    notes: str
    answer: str


def rubrics_of(assignment: Assignment) -> dict[str, Rubric]:
    """The rubric of every hand-graded cell, in order; a cell without a rubric has one without parts.

    Raises:
        UserError: a rubric is not sound: an item without points, points that are no multiple of 0.05, parts that do
            not add up to the cell's points, a rubric that belongs to no cell.
    """
    path = assignment.files.solution
    texts: dict[str, list[str]] = {}
    answers: dict[str, str] = {}
    last: str | None = None
    for number, cell in enumerate(read_cells(path), start=1):
        marks = ipynb.nbgrader_metadata(cell)
        if marks.get("grade") or (marks.get("solution") and cell.cell_type == "code"):
            last = str(marks["grade_id"]) if marks.get("solution") and marks.get("grade") else None
            if last is not None:
                answers[last] = _model_answer(cell)
        elif RUBRIC in ipynb.tags(cell):
            if last is None:
                raise UserError(f"{path}, cell {number}: this rubric stands below no hand-graded cell.")
            texts.setdefault(last, []).append(cell.source)
    return {
        name: _rubric(
            path, name, assignment.cells[name].points, "\n\n".join(texts.get(name, [])), answers.get(name, "")
        )
        for name in assignment.manual
    }


def missing_rubrics(assignment: Assignment) -> Iterator[str]:
    """One sentence for each hand-graded cell without part points, and each without a model answer."""
    for name, rubric in rubrics_of(assignment).items():
        if not rubric.parts:
            yield f"`{name}` is graded by hand and has no rubric, a text cell tagged `{RUBRIC}` with `- 0.2 …` lines."
        if not rubric.answer:
            yield f"`{name}` is graded by hand and has no model answer between BEGIN and END SOLUTION."


def as_markdown(rubric: Rubric) -> str:
    """A rubric with its model answer, for a grader."""
    parts = "\n".join(f"- **{part.points:g}** {part.says}" for part in rubric.parts)
    blocks = [
        parts or "No rubric is given.",
        rubric.notes,
        f"**Model answer**\n\n{rubric.answer}" * bool(rubric.answer),
    ]
    return "\n\n".join(block for block in blocks if block)


def _model_answer(cell: NotebookNode) -> str:
    answers, _ = split_answer(cell)
    return "\n\n".join("\n".join(lines).strip() for lines, _ in answers).strip()


def _rubric(path: Path, name: str, points: float, text: str, answer: str) -> Rubric:
    place = f"{path}: the rubric of `{name}`"
    items, notes = _items(text.split("\n"))
    parts = []
    for item in items:
        match = WORTH.fullmatch(item)
        if match is None:
            raise UserError(f"{place} has an item that does not begin with its points: {item[:60]!r}.")
        parts.append(Part(float(match[1]), match[2]))
        if (exact(parts[-1].points) / STEP).denominator != 1 or not parts[-1].points:
            raise UserError(f"{place} gives {match[1]} points for a part; parts are worth multiples of 0.05.")
    total = sum((exact(part.points) for part in parts), Fraction(0))
    if parts and total != exact(points):
        raise UserError(f"{place} adds up to {float(total):g} points, but the cell has {points:g}.")
    return Rubric(name, tuple(parts), notes, answer)


def _items(lines: Sequence[str]) -> tuple[list[str], str]:
    """The items of a list, each as one line, and the text around it."""
    items: list[str] = []
    around: list[str] = []
    inside = False
    for line in lines:
        found = ITEM.match(line)
        if found:
            items.append(found[1].strip())
        elif inside and line.strip():
            items[-1] += f" {line.strip()}"
        else:
            around.append(line)
        inside = bool(found) or (inside and bool(line.strip()))
    return items, "\n".join(around).strip()
