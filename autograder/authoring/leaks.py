"""Does anything hidden stand in a file that is about to be handed out?

Hidden are, of the assignment's folder in `solutions/`: the text between BEGIN and END SOLUTION (and whole answers
without such markers), the hidden checks, and every canary; further the names of the hidden packages. Text that the
instructor wrote outside the answers is public by intent, so a single line of an answer is a leak only if it stands
nowhere else in the solution; a whole answer, or three of its lines in a row, is a leak wherever it turns up. Hidden and
public checks share much of their text by nature: there, a name or a whole body is a leak.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from autograder.errors import UnreadableError
from autograder.homework import ipynb
from autograder.judge.solution import read_solution

LINE = 20  # characters that make a line tell-tale by itself
BLOCK = 40  # characters that make a short answer tell-tale
ROW, ROW_CHARS = 3, 75  # lines in a row; "zero_grad, backward, step" have 52 characters and are no secret
CANARY = re.compile(r"(?i)\bcanary[-_:][\w-]{6,}")
HIDDEN = re.compile(r"\b(?:from|import)\s+(?:solutions|reference_models)\b|\breference_models\b")
TEXT = (".py", ".md", ".yaml", ".yml", ".txt", ".json", ".ipynb", ".cfg", ".toml", ".csv")
Block = tuple[str, ...]  # normalised lines


@dataclass(frozen=True)
class Secrets:
    """What must not leave, in a form that can be looked for."""

    lines: dict[str, str]  # normalised line -> what it is
    rows: dict[Block, str]  # lines in a row -> what they are

    @property
    def longest(self) -> int:
        return max(map(len, self.rows), default=0)


def find_leaks(files: dict[str, bytes], secrets: Secrets) -> Iterator[str]:
    """One sentence for each hidden thing in `files`, naming file and line."""
    for name, data in files.items():
        if not name.endswith(TEXT):
            yield f"{name} is of a kind that cannot be searched for hidden text."
            continue
        try:
            parts = _parts(name, data)
        except (UnicodeDecodeError, UnreadableError) as error:
            yield f"{name} cannot be searched for hidden text ({error})."
            continue
        for place, text in parts:
            yield from _search(place, text, secrets)


def read_secrets(solution: Path, hidden_checks: Sequence[Path]) -> Secrets:
    """Secrets of one assignment. Raises UserError if its solution cannot be read."""
    notebook = read_solution(solution)
    answers, given = [], []
    for cell in notebook.cells:
        inside, outside = split_answer(cell)
        answers += inside
        given += outside
    public = {_normal(line) for line in given}
    lines: dict[str, str] = {}
    rows: dict[Block, str] = {}
    for block in map(_block, answers):
        lines |= {line: "an answer" for line in block if len(line) >= LINE and line not in public}
        rows |= dict.fromkeys(_rows(block), "an answer")
    for name, body in itertools.chain.from_iterable(map(_check_bodies, hidden_checks)):
        lines[_normal(f"def {name}(")] = "a hidden check"
        block = _block(body)
        if sum(map(len, block)) >= ROW_CHARS:
            rows[block] = f"the hidden check `{name}`"
    return Secrets(lines, rows)


def split_answer(cell: NotebookNode) -> tuple[list[list[str]], list[str]]:
    """The answers in a solution cell, each a list of lines, and the lines around them."""
    lines = cell.source.split("\n")
    if not ipynb.nbgrader_metadata(cell).get("solution"):
        return [], lines
    if "BEGIN SOLUTION" not in cell.source:
        return [lines], []
    answers: list[list[str]] = []
    around: list[str] = []
    inside = False
    for line in lines:
        if "BEGIN SOLUTION" in line:
            inside = True
            answers.append([])
        elif "END SOLUTION" in line:
            inside = False
        else:
            (answers[-1] if inside else around).append(line)
    return answers, around


def _search(place: str, text: str, secrets: Secrets) -> Iterator[str]:
    window: list[tuple[int, str]] = []
    longest = max(secrets.longest, 1)
    for number, line in enumerate(text.split("\n"), start=1):
        normal = _normal(line)
        for pattern, kind in ((CANARY, "a canary"), (HIDDEN, "the name of a hidden package")):
            if pattern.search(line):
                yield f"{place}, line {number} has {kind}: {line.strip()[:80]!r}."
        if (what := _line_secret(normal, secrets)) is not None:
            yield f"{place}, line {number} is part of {what}: {line.strip()[:80]!r}."
        elif normal:
            window = [*window, (number, normal)][-longest:]
            row = tuple(part for _, part in window)
            for start, (first, _) in enumerate(window):
                if (found := secrets.rows.get(row[start:])) is not None:
                    yield f"{place}, lines {first} to {number} are part of {found}."
                    break


def _line_secret(normal: str, secrets: Secrets) -> str | None:
    if normal in secrets.lines:
        return secrets.lines[normal]
    if match := re.match(r"(?:async )?def (test_\w+) ?\(", normal):
        return secrets.lines.get(_normal(f"def {match[1]}("))
    return None


def _parts(name: str, data: bytes) -> list[tuple[str, str]]:
    """The texts of a file with their places: the file itself, or a notebook's cells."""
    if not name.endswith(".ipynb"):
        return [(name, data.decode("utf-8"))]
    notebook, _ = ipynb.parse(data)
    return [(f"{name}, cell {number}", cell.source) for number, cell in enumerate(notebook.cells, start=1)]


def _check_bodies(path: Path) -> Iterator[tuple[str, list[str]]]:
    source = path.read_text(encoding="utf-8")
    lines = source.split("\n")
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body:
                yield node.name, lines[body[0].lineno - 1 : node.end_lineno]


def _rows(block: Block) -> list[Block]:
    if len(block) < ROW:
        return [block] if sum(map(len, block)) >= BLOCK else []
    rows = [block[start : start + ROW] for start in range(len(block) - ROW + 1)]
    return [row for row in rows if sum(map(len, row)) >= ROW_CHARS]


def _block(lines: Sequence[str]) -> Block:
    return tuple(normal for line in lines if (normal := _normal(line)))


def _normal(line: str) -> str:
    """A line without comment marks, blanks and case of markup, so that re-indenting or quoting it hides nothing."""
    return re.sub(r"\s+", " ", line.strip().lstrip("#>*-").strip())
