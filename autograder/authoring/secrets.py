"""What of a homework must not leave, in a form that can be looked for.

Answers are the text between BEGIN and END SOLUTION, and whole answers without such markers. Text that the instructor
wrote outside the answers is public by intent, so a single line of an answer is a secret only if it stands nowhere else
in the solution; a whole answer, or three of its lines in a row, is one wherever it turns up. Where a task is to change
given code, the answer says so: `### BEGIN SOLUTION, repeats given code`; then its rows of given lines are none. A
rubric is hidden line by line, except for lines of the text that students get.

Of every other hidden file (laws, properties, variants, what homeworks share) three lines in a row are a secret. A file
that repeats lines of the template on purpose says so in a comment, `# shown in the template`; then those are none. A
variant says with each cell which one it replaces; what that cell of the template shows is none either.
Hidden and public checks share much of their text by nature: there, it is a name, a whole body, or most of one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from autograder.authoring.template import build_template
from autograder.homework import ipynb
from autograder.homework.files import VARIANTS
from autograder.judge.model_answers import RUBRIC, read_cells, split_answer

LINE = 20  # characters that make a line tell-tale by itself
BLOCK = 40  # characters that make a short block tell-tale
ROW, ROW_CHARS = 3, 75  # lines in a row; "zero_grad, backward, step" have 52 characters and are no secret
CHECK_ROW = 6  # of a check; a public and a hidden check of one task may well begin alike
SHOWN = "shown in the template"
Block = tuple[str, ...]  # normalised lines


@dataclass(frozen=True)
class Secrets:
    """What must not leave."""

    lines: dict[str, str]  # normalised line -> what it is
    rows: dict[Block, str]  # lines in a row -> what they are

    @property
    def longest(self) -> int:
        return max(map(len, self.rows), default=0)


def read_secrets(solution: Path, hidden: Sequence[Path]) -> Secrets:
    """Secrets of one assignment.

    Args:
        hidden: Python and YAML files that students do not get, besides the solution.

    Raises:
        UserError: the solution cannot be read.
    """
    secrets = _answers(read_cells(solution))
    template = build_template(solution).cells
    for path in hidden:
        shown = {normal(line) for cell in _repeated(path, template) for line in cell.source.split("\n")}
        if path.name.startswith("checks") and path.suffix == ".py":
            for name, body in _check_bodies(path):
                secrets.lines[normal(f"def {name}(")] = "a hidden check"
                found = dict.fromkeys(_most_of(block_of(body)), f"the hidden check `{name}`")
                secrets.rows.update(_not_shown(found, shown))
        blocks = _code_blocks(path) if path.suffix == ".py" else [path.read_text(encoding="utf-8").split("\n")]
        rows = {row: f"the hidden file `{path.name}`" for block in blocks for row in rows_of(block_of(block))}
        secrets.rows.update({row: what for row, what in _not_shown(rows, shown).items() if row not in secrets.rows})
    return secrets


def _repeated(path: Path, template: Sequence[NotebookNode]) -> Iterator[NotebookNode]:
    """The cells of the template that a hidden file may repeat."""
    text = path.read_text(encoding="utf-8")
    replaced = set(re.findall(r"^# %%.* (\S+)$", text, re.MULTILINE)) if path.parent.name == VARIANTS else set()
    yield from (cell for cell in template if SHOWN in text or ipynb.grade_id(cell) in replaced)


def _answers(cells: Sequence[NotebookNode]) -> Secrets:
    answers: list[tuple[list[str], bool]] = []
    rubrics: list[list[str]] = []
    given: list[str] = []
    for cell in cells:
        if RUBRIC in ipynb.tags(cell):
            rubrics.append(cell.source.split("\n"))
            continue
        inside, outside = split_answer(cell)
        answers += inside
        given += outside
    public = {normal(line) for line in given}
    secrets = Secrets({}, {})
    for lines, repeats in answers:
        block = block_of(lines)
        secrets.lines.update({line: "an answer" for line in block if len(line) >= LINE and line not in public})
        rows = dict.fromkeys(rows_of(block), "an answer")
        secrets.rows.update(_not_shown(rows, public) if repeats else rows)
    for lines in rubrics:
        block = block_of(lines)
        for line in (told for told in block if len(told) >= LINE and told not in public):
            secrets.lines.setdefault(line, "a rubric")
            secrets.lines.setdefault(re.sub(r"^[\d.]+[:)]?\s+", "", line), "a rubric")  # the points are put elsewhere
        secrets.rows.update(_not_shown(dict.fromkeys(rows_of(block), "a rubric"), public))
    return secrets


def _not_shown(rows: dict[Block, str], shown: set[str]) -> dict[Block, str]:
    return {row: what for row, what in rows.items() if not shown.issuperset(row)}


def _check_bodies(path: Path) -> Iterator[tuple[str, list[str]]]:
    source = path.read_text(encoding="utf-8")
    lines = source.split("\n")
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body:
                yield node.name, lines[body[0].lineno - 1 : node.end_lineno]


def _code_blocks(path: Path) -> Iterator[list[str]]:
    """The functions, classes and assignments of a file; of a file of checks, what is no check."""
    source = path.read_text(encoding="utf-8")
    lines = source.split("\n")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if not (path.name.startswith("checks") and isinstance(node, ast.FunctionDef) and node.name[:5] == "test_"):
            first = node.body[0] if isinstance(node, ast.FunctionDef) else node
            yield lines[first.lineno - 1 : node.end_lineno]


def _most_of(block: Block) -> Iterator[Block]:
    """The whole of a check, and so many of its lines in a row that it can be told by them."""
    size = min(CHECK_ROW, max(2, len(block) - 1))
    for row in (block, *(block[start : start + size] for start in range(len(block) - size + 1))):
        if sum(map(len, row)) >= ROW_CHARS:
            yield row


def rows_of(block: Block) -> list[Block]:
    """The rows of a block that give it away; a short block is one row."""
    if len(block) < ROW:
        return [block] if sum(map(len, block)) >= BLOCK else []
    rows = [block[start : start + ROW] for start in range(len(block) - ROW + 1)]
    return [row for row in rows if sum(map(len, row)) >= ROW_CHARS]


def block_of(lines: Sequence[str]) -> Block:
    """Normalised lines without the empty ones."""
    return tuple(kept for line in lines if (kept := normal(line)))


def normal(line: str) -> str:
    """A line without comment marks, blanks and case of markup, so that re-indenting or quoting it hides nothing."""
    return re.sub(r"\s+", " ", line.strip().lstrip("#>*-").strip())
