"""Take an existing notebook in: a short mapping says what its cells are for, and the homework's files follow.

    cells:
      - { cell: 3, task: double, points: 2, hide: [4-6] }   an answer that checks grade; lines 4 to 6 are cut out
      - { cell: 5, by_hand: why, points: 1 }                an answer in words
      - { cell: 7, train: line }                            run only where a check asks for this training
      - { cell: 8, locked: data }                           put back as it is before grading
      - { cell: 9, leave_out: true }

Cells are counted from 1 as in the notebook; those that are not listed stay as they are. Answers of one task may be
several; one of them has the points, and `check("…")` is put below the last.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from pydantic import Field

from autograder.authoring.new import write_homework
from autograder.errors import UnreadableError, UserError
from autograder.homework import ipynb
from autograder.homework.files import HomeworkFiles
from autograder.judge.model_answers import FIRST
from autograder.yamlfile import StrictModel, load_yaml

NAME = r"^[A-Za-z0-9_-]+$"
LINES = re.compile(r"(\d+)(?:\s*-\s*(\d+))?")
USES = ("task", "by_hand", "train", "locked", "leave_out")


class CellUse(StrictModel):
    """What one cell is for."""

    cell: int = Field(ge=1)
    begins: str = ""  # of its first line, so that a changed notebook is noticed
    task: str | None = Field(default=None, pattern=NAME)
    by_hand: str | None = Field(default=None, pattern=NAME)
    train: str | None = Field(default=None, pattern=NAME)
    locked: str | None = Field(default=None, pattern=NAME)
    leave_out: bool = False
    points: float | None = Field(default=None, ge=0)
    hide: list[int | str] = Field(default=[])  # lines of the answer, "4-6" or 4; none: the whole cell

    @property
    def uses(self) -> list[str]:
        return [use for use in USES if getattr(self, use)]


class Mapping(StrictModel):
    """The mapping's file."""

    title: str = Field(min_length=1)
    cells: list[CellUse] = Field(min_length=1)


def read_notebook(path: Path) -> NotebookNode:
    """The notebook to take in. Raises UserError if it can not be read."""
    try:
        return ipynb.parse(path.read_bytes())[0]
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except UnreadableError as error:
        raise UserError(f"{path} {error}") from None


def take_in(homework: HomeworkFiles, notebook: Path, mapping: Path) -> list[Path]:
    """Write the files of a homework made from a notebook, its checks still to be written.

    Raises:
        UserError: the notebook or the mapping is not sound, every fault a sentence; or there is such a homework.
    """
    plan, cells = load_yaml(mapping, Mapping), read_notebook(notebook).cells
    if faults := [f"{mapping}: {sentence}" for sentence in _faults(plan, cells)]:
        raise UserError("\n".join(faults))
    points = {use.task: use.points for use in plan.cells if use.task and use.points is not None}
    total = sum(use.points for use in plan.cells if use.points is not None)
    return write_homework(
        homework,
        _script(_cells(plan, cells)),
        _checks("Public checks: students get this file.", "public", points),
        _checks("Hidden checks: the same properties on inputs that nobody can know beforehand.", "hidden", points),
        f"name: @NAME@\ntitle: {plan.title!r}\npoints: {total:g}\n" + _training(plan),
        {"wrong.yaml": "# Mistakes students make: see docs/writing-a-homework.md.\n\nwrong: []\n"},
    )


def _training(plan: Mapping) -> str:
    """The section of the trainings, whose networks' names only the author knows."""
    names = [use.train for use in plan.cells if use.train]
    if not names:
        return ""
    head = ["", "# Fill in, and take the # away (docs/writing-checks.md, Trained parts):", "# training:"]
    return "\n".join([*head, *(f"#   {name}: {{ name: THE_NETWORK, build: WHAT_MAKES_IT }}" for name in names), ""])


def _faults(plan: Mapping, cells: Sequence[NotebookNode]) -> Iterator[str]:
    """One sentence for each thing in the mapping that does not fit the notebook."""
    for number, count in Counter(use.cell for use in plan.cells).items():
        if count > 1:
            yield f"cell {number} is listed {count} times; one line says all of a cell."
    for use in plan.cells:
        if use.cell > len(cells):
            yield f"cell {use.cell} is not there; the notebook has {len(cells)} cells."
            continue
        yield from (f"cell {use.cell} {fault}" for fault in _faults_of(use, cells[use.cell - 1]))
    names = {use.task for use in plan.cells if use.task}
    for name in sorted(names):
        having = [use.cell for use in plan.cells if use.task == name and use.points is not None]
        if len(having) != 1:
            found = "none has any" if not having else f"cells {' and '.join(map(str, having))} have"
            yield f"the points of the task `{name}` stand with one of its cells; {found}."
    others = Counter(name for use in plan.cells for name in (use.by_hand, use.locked) if name)
    for name, count in others.items():
        if count > 1 or name in names:
            yield f"the name `{name}` is used twice; names differ."


def _faults_of(use: CellUse, cell: NotebookNode) -> Iterator[str]:
    first = cell.source.split("\n")[0]
    if not first.startswith(use.begins):
        yield f"should begin with {use.begins!r} and begins with {first[:60]!r}; has the notebook changed?"
    if len(use.uses) != 1:
        said = " and ".join(f"`{name}`" for name in use.uses) or "nothing"
        yield f"is said to be {said}; say one of {', '.join(f'`{name}`' for name in USES)}."
    if use.task and cell.cell_type != "code":
        yield "is text, which no check grades; say `by_hand` instead of `task`."
    if use.by_hand and use.points is None:
        yield "is graded by hand and has no `points`."
    if use.points is not None and not (use.task or use.by_hand):
        yield "has `points`, but is neither a `task` nor `by_hand`."
    if use.hide and not (use.task or use.by_hand):
        yield "has lines to `hide`, but is no answer."
    try:
        spans(use, cell.source.count("\n") + 1)
    except ValueError as error:
        yield str(error)


def spans(use: CellUse, length: int) -> list[tuple[int, int]]:
    """The first and last lines to hide, counted from 1. Raises ValueError with a sentence's end."""
    found: list[tuple[int, int]] = []
    for text in use.hide:
        match = LINES.fullmatch(str(text).strip())
        if match is None:
            raise ValueError(f'hides {text!r}; write a line as 4 and lines as "4-6".')
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= length:
            raise ValueError(f"hides {text}; it has the lines 1 to {length}.")
        if found and first <= found[-1][1]:
            raise ValueError(f"hides {text} after {found[-1][0]}-{found[-1][1]}; lines go up and do not overlap.")
        found.append((first, last))
    return found


def _cells(plan: Mapping, cells: Sequence[NotebookNode]) -> Iterator[dict[str, Any]]:
    """The cells of the solution: the notebook's with their headers, the first cell and the checks."""
    by_number = {use.cell: use for use in plan.cells}
    last = {use.task: use.cell for use in sorted(plan.cells, key=lambda use: use.cell) if use.task}
    points = {use.task: use.points for use in plan.cells if use.task and use.points is not None}
    count: Counter[str] = Counter()
    package = {"cell_type": "code", "metadata": {"tags": [FIRST]}, "source": "from autograder import check"}
    if not cells or cells[0].cell_type == "code":
        yield package
    for number, cell in enumerate(cells, start=1):
        use = by_number.get(number, CellUse(cell=number))
        if not use.leave_out:
            header: dict[str, Any] = {}
            if use.task:
                count[use.task] += 1
                header["answer"] = f"{use.task}-answer" + (f"-{count[use.task]}" if count[use.task] > 1 else "")
            elif use.by_hand:
                header |= {"by_hand": use.by_hand, "points": use.points}
            elif use.locked:
                header["locked"] = use.locked
            elif use.train:
                header["tags"] = ["train", f"train:{use.train}"]
            yield {"cell_type": cell.cell_type, "metadata": header, "source": _marked(use, cell)}
        if number == 1 and cell.cell_type != "code":
            yield package
        if use.task and last[use.task] == number:
            graded = {"graded": use.task, "points": points[use.task]}
            yield {"cell_type": "code", "metadata": graded, "source": f'check("{use.task}")'}


def _marked(use: CellUse, cell: NotebookNode) -> str:
    """The cell's text with its solution regions marked."""
    begin, end = "### BEGIN SOLUTION", "### END SOLUTION"
    if cell.cell_type != "code":
        begin, end = f"<!-- {begin} -->", f"<!-- {end} -->"
    lines = cell.source.split("\n")
    for first, last in reversed(spans(use, len(lines))):
        indent = re.match(r"\s*", lines[first - 1])
        margin = indent[0] if indent else ""
        lines[first - 1 : last] = [margin + begin, *lines[first - 1 : last], margin + end]
    return "\n".join(lines)


def _script(cells: Iterator[dict[str, Any]]) -> str:
    import jupytext

    blank: dict[str, Any] = {"outputs": [], "execution_count": None}
    full = [cell | (blank if cell["cell_type"] == "code" else {}) | {"id": f"c{i}"} for i, cell in enumerate(cells)]
    return str(jupytext.writes(ipynb.as_notebook(full), fmt="py:percent"))


def _checks(title: str, kind: str, points: dict[str, float]) -> str:
    """A file with a check for each task that is still to be written, worth half of its points."""
    parts = [f'"""{title} See docs/writing-checks.md."""\n\nfrom autograder.checks import graded\n']
    for task, worth in points.items():
        parts.append(
            f'@graded("{task}", points={worth / 2:g})\n'
            f"def test_{kind}_{task.replace('-', '_')}(student):\n"
            f'    """What must hold of `{task}`, in a sentence that students read."""\n'
            f'    raise NotImplementedError("this check is still to be written")\n'
        )
    return "\n\n".join(parts)
