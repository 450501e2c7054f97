"""A cell from source to statements that run one after the other.

An import that fails does not take the rest of its cell with it: a library the grader does not have costs what needs it.
"""

from __future__ import annotations
import __future__

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

from .frames import register
from .magics import neutralise
from .notes import Notes


@dataclass(frozen=True)
class Cell:
    """A cell as `load` takes it.

    Args:
        kind: "code" or "markdown".
        number: position in the submitted notebook, from 1; None for a cell put there by the judge.
    """

    source: str
    kind: str
    grade_id: str | None = None
    tags: Sequence[str] = ()
    number: int | None = None


@dataclass(frozen=True)
class Step:
    code: CodeType
    imports: str | None  # what an import statement wants


@dataclass(frozen=True)
class Program:
    steps: Sequence[Step]
    guarded: bool  # the cell expects that `google.colab` may be absent


def prepare(cell: Cell, notes: Notes) -> Program:
    """Compiles a cell, IPython's syntax taken out. Raises SyntaxError if the rest is not Python."""
    file = register(cell.number or 0, cell.source)
    source = neutralise(cell.source, notes.add)
    tree = ast.parse(source, file)
    flags = _future_flags(tree)
    steps = [
        Step(
            compile(ast.Module(body, []), file, "exec", flags, dont_inherit=True),
            ast.unparse(body[0]) if isinstance(body[0], (ast.Import, ast.ImportFrom)) else None,
        )
        for body in _groups(tree.body)
    ]
    return Program(steps, _guards_colab(tree))


def run(program: Program, namespace: dict[str, Any], notes: Notes) -> None:
    """Runs the statements in `namespace`. Raises the first failed import, if any, after all of them have run."""
    failed: ImportError | None = None
    for step in program.steps:
        try:
            exec(step.code, namespace)
        except ImportError as error:
            if step.imports is None:
                raise
            notes.add(f"`{step.imports}` failed; the rest of the cell was run without it")
            failed = failed or error
        except NameError:
            if failed is None:
                raise
            break  # a consequence
    if failed is not None:
        raise failed


def _groups(body: list[ast.stmt]) -> Iterator[list[ast.stmt]]:
    """Imports one by one, other statements together."""
    group: list[ast.stmt] = []
    for statement in body:
        if not isinstance(statement, (ast.Import, ast.ImportFrom)):
            group.append(statement)
            continue
        if group:
            yield group
            group = []
        if isinstance(statement, ast.Import):
            for name in statement.names:
                yield [ast.copy_location(ast.Import([name]), statement)]
        else:
            yield [statement]
    if group:
        yield group


def _future_flags(tree: ast.Module) -> int:
    names = [
        name.name
        for statement in tree.body
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        for name in statement.names
    ]
    features = [getattr(__future__, name, None) for name in names]
    return sum({feature.compiler_flag for feature in features if feature is not None})


def _guards_colab(tree: ast.Module) -> bool:
    """Whether `google.colab` is imported inside a `try`, that is, whether the cell asks if this is Colab."""
    for block in ast.walk(tree):
        if isinstance(block, ast.Try):
            for statement in block.body:
                names = [alias.name for alias in statement.names] if isinstance(statement, ast.Import) else []
                names += [statement.module or ""] if isinstance(statement, ast.ImportFrom) else []
                if any(name.split(".")[:2] == ["google", "colab"] for name in names):
                    return True
    return False
