"""The cells the sandbox runs: the student's notebook with everything locked put back as the template has it.

The notebook runs as submitted, from top to bottom, the student's own cells included, with these repairs, each of which
costs the student nothing:

- A locked cell has the template's text and type. If it is missing or stands below a cell that comes after it in the
  template, it runs where the template has it. Further copies are left out.
- An answer retyped as markdown runs as code. An unanswered copy of an answered cell is left out; of several answered
  copies all run, so the last one before the task's graded cell counts.
- A task ends, and its names are recorded, at its graded cell: the last copy of it below the task's answers. If there is
  none below them, the task ends before the next thing of the template that follows.
- Tags come from the template. A cell the student added keeps the `train` tags that the template knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nbformat import NotebookNode

from autograder.homework import ipynb
from autograder.homework.align import Match, align, same_text
from autograder.homework.first_cell import GRADE_ID

CELL_CHARS = 200_000
TOTAL_CHARS = 2_000_000  # of all sources; a homework has about 50,000
BEGINNING = 60  # characters of a cell's first line, by which it is named


@dataclass(frozen=True)
class Restored:
    """A notebook ready to run.

    `cells` are what the worker's `load` takes: source, kind, grade_id (of automatically graded cells only), tags, and
    number, the position in the submitted notebook counted from 1, or None for a cell that was put in.
    """

    cells: list[dict[str, Any]]
    answers: dict[str, str]  # grade_id of each manual cell -> what the student wrote; "" if nothing
    notes: list[str]  # for the student


@dataclass
class _Work:
    """Everything the steps below share: both notebooks, which cell is which, and the result with its places."""

    submitted: Sequence[NotebookNode]
    template: Sequence[NotebookNode]
    match: Match
    notes: list[str] = field(default_factory=list)
    placed: list[tuple[float, int, dict[str, Any]]] = field(default_factory=list)  # (place, template position, cell)

    def __post_init__(self) -> None:
        self._copies: dict[int | None, list[int]] = {}
        self._filled: list[bool] = []
        self._answered: set[int | None] = set()
        for index, position in enumerate(self.match):
            self._copies.setdefault(position, []).append(index)
            self._filled.append(is_filled(self.submitted[index], None if position is None else self.template[position]))
            if self._filled[-1]:
                self._answered.add(position)

    def copies(self, position: int) -> list[int]:
        """Submitted cells that are this cell of the template."""
        return self._copies.get(position, [])

    def filled(self, index: int) -> bool:
        """True if an answer differs from the blank it was."""
        return self._filled[index]

    def answered(self, position: int) -> bool:
        """True if any copy of an answer is filled."""
        return position in self._answered

    def next_place(self, position: int, below: float) -> float:
        """Just above the first cell under `below` that the template has after `position`."""
        later = (i for i, p in enumerate(self.match) if p is not None and p > position and i > below)
        return min(later, default=len(self.submitted)) - 0.5


def restore(submitted: NotebookNode, template: NotebookNode) -> Restored:
    """Repair a submitted notebook. Any two notebooks that `ipynb.parse` returned will do; nothing is raised."""
    work = _Work(submitted.cells, template.cells, align(submitted.cells, template.cells))
    train_tags = {tag for cell in template.cells for tag in ipynb.tags(cell)}
    kinds = [_role(cell) for cell in template.cells]
    for index in range(len(submitted.cells)):
        position = work.match[index]
        role = "own" if position is None else kinds[position]
        if role not in ("graded", "given"):
            _keep(work, index, role, train_tags)
    start = 0
    for position, role in enumerate(kinds):
        if role == "given":
            _place_given(work, position)
        elif role == "graded":
            answers = [p for p in range(start, position) if kinds[p] == "answer"]
            _place_graded(work, position, answers)
            start = position + 1
    cells = [cell for _, _, cell in sorted(work.placed, key=lambda item: item[:2])]
    _cap(cells, work.notes)
    manual = [position for position, role in enumerate(kinds) if role == "manual"]
    return Restored(cells, {ipynb.grade_id(template.cells[p]) or "": _answer(work, p) for p in manual}, work.notes)


def is_filled(cell: NotebookNode, original: NotebookNode | None) -> bool:
    """True if a cell says something that its template cell does not."""
    return bool(cell.source.strip()) and (original is None or not same_text(cell.source, original.source))


def _role(cell: NotebookNode) -> str:
    """graded: ends a task; manual: a human reads it; answer: the student's; given: locked; plain: anything else."""
    meta = ipynb.nbgrader_metadata(cell)
    if meta.get("grade"):
        return "manual" if meta.get("solution") else "graded"
    if meta.get("solution"):
        return "answer"
    return "given" if meta.get("locked") else "plain"


def _keep(work: _Work, index: int, role: str, train_tags: set[str]) -> None:
    """A cell of the student's runs where it stands."""
    cell, position = work.submitted[index], work.match[index]
    kind = "code" if cell.cell_type == "code" else "markdown"
    tags = [tag for tag in ipynb.tags(cell) if tag in train_tags]
    if position is not None:
        original = work.template[position]
        tags = ipynb.tags(original)
        if role == "answer" and not work.filled(index) and work.answered(position):
            work.notes.append(f"{_said(cell.source)} is an unanswered copy of another cell and was left out.")
            return
        if role == "answer" and kind != original.cell_type:
            kind = str(original.cell_type)
            work.notes.append(f"{_said(cell.source)} was made {cell.cell_type}; it was run as {kind} again.")
        elif role == "manual":
            kind = "markdown"
    work.placed.append((index, -1 if position is None else position, _cell(cell.source, kind, None, tags, index + 1)))


def _place_given(work: _Work, position: int) -> None:
    original = work.template[position]
    if original.cell_type != "code":
        return  # a text to read changes nothing
    copies = work.copies(position)
    later = [i for i, p in enumerate(work.match) if p is not None and p > position]
    above = min(later, default=len(work.submitted))
    earlier = [i for i, p in enumerate(work.match) if p is not None and p < position and i < above]
    number = None
    place = max(earlier, default=-1) + 0.25
    if copies:
        number = copies[0] + 1
        _note_edit(work, copies[0], original)
        if copies[0] < above:
            place = copies[0]
        else:
            work.notes.append(f"{_said(original.source)} is locked and was run where the template has it.")
        _note_copies(work, copies[1:])
    else:
        work.notes.append(f"The locked cell {_named(original)} was missing and was put back.")
    work.placed.append((place, position, _cell(original.source, "code", None, ipynb.tags(original), number)))


def _place_graded(work: _Work, position: int, answers: Sequence[int]) -> None:
    original = work.template[position]
    copies = work.copies(position)
    ready = -1.0  # the first place at which every answer of the task has been given
    for answer in answers:
        given = work.copies(answer)
        ready = max(ready, *([i for i in given if work.filled(i)] or given)[:1], -1)
    below = [index for index in copies if index > ready]
    number = None
    if below:
        place: float = below[-1]
        number = below[-1] + 1
        _note_edit(work, below[-1], original)
        _note_copies(work, [index for index in copies if index != below[-1]])
    else:
        earlier = [i for i, p in enumerate(work.match) if p is not None and p < position]
        start = ready if ready >= 0 else max(earlier, default=-1)
        place = work.next_place(position, start)
        fate = "stood above its answer and was moved below it" if copies else "was missing and was put back"
        work.notes.append(f"The graded cell {_named(original)} {fate}.")
    cell = _cell(original.source, str(original.cell_type), ipynb.grade_id(original), ipynb.tags(original), number)
    work.placed.append((place, position, cell))


def _answer(work: _Work, position: int) -> str:
    """What a human is to read: the cell's filled copies, and text the student added right below them."""
    parts = []
    for index in work.copies(position):
        if work.filled(index):
            parts.append(work.submitted[index].source)
        follow = index + 1
        while (
            follow < len(work.submitted)
            and work.match[follow] is None
            and work.submitted[follow].cell_type == "markdown"
        ):
            parts.append(work.submitted[follow].source)
            follow += 1
    return "\n\n".join(part.strip() for part in parts).replace("\0", "")[:CELL_CHARS]


def _cap(cells: list[dict[str, Any]], notes: list[str]) -> None:
    """Empty the cells that are too long, so that the notebook fits into one message."""
    total = 0
    for cell in cells:
        if cell["kind"] == "markdown":
            cell["source"] = ""  # never run, and pictures pasted into text are large
        size = len(cell["source"])
        total += size
        if size > CELL_CHARS or total > TOTAL_CHARS:
            total -= size
            notes.append(f"{_said(cell['source'])} is too long ({size} characters) and was not run.")
            cell["source"] = ""


def _note_edit(work: _Work, index: int, original: NotebookNode) -> None:
    """Say that a locked cell was another one; not of the cell that fetches the package, which each release writes."""
    cell = work.submitted[index]
    same = cell.cell_type == original.cell_type and same_text(cell.source, original.source)
    if not same and ipynb.grade_id(original) != GRADE_ID:
        work.notes.append(f"{_said(original.source)} is locked, and yours was another one: the course's own was run.")


def _note_copies(work: _Work, extra: Sequence[int]) -> None:
    if extra:
        work.notes.append(f"{_said(work.submitted[extra[0]].source)} is locked; {len(extra)} more of it were left out.")


def _said(source: str) -> str:
    """A cell by what its author sees of it: no notebook shows the numbers of its cells."""
    first = source.strip().split("\n", 1)[0][:BEGINNING].rstrip()
    return f"The cell that begins with `{first}`" if first else "An empty cell"


def _named(cell: NotebookNode) -> str:
    return f"`{ipynb.grade_id(cell) or 'without a name'}`"


def _cell(source: str, kind: str, grade_id: str | None, tags: list[str], number: int | None) -> dict[str, Any]:
    return {"source": source, "kind": kind, "grade_id": grade_id, "tags": tags, "number": number}
