"""Which trained cells a wrong variant may change: the others come out as the solution's do and need no training.

Names are followed from cell to cell as they are written, wherever they stand, so that too much is reached and not too
little. What is not seen: a function that changes the process it runs in, say the default dtype.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from nbformat import NotebookNode

from autograder.homework import ipynb
from autograder.homework.assignment import Assignment
from autograder.judge.basis import ENGINE, definitions_of
from autograder.judge.definitions import Node

STUDENT = "student"  # the fixture, and the parameter of functions it is handed to
ASSIGNS = (ast.Assign, ast.AnnAssign, ast.AugAssign)
DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom)


@dataclass(frozen=True)
class Reach:
    """What the trainings and checks of one cell use of the solution.

    Args:
        cells: ids of cells.
        names: every name that is written there.
    """

    cells: frozenset[str]
    names: frozenset[str]


@dataclass(frozen=True)
class Trainings:
    """The trained cells of a homework and what each reaches.

    Args:
        sources: of the solution's code cells, by id.
        reach: cell with a trained check -> what it uses.
    """

    sources: dict[str, str]
    reach: dict[str, Reach]

    @classmethod
    def of(cls, assignment: Assignment, solution: NotebookNode) -> Self:
        """Follow the names from every check of a trained cell."""
        trained = {check.cell for check in assignment.checks if check.trains is not None}
        return cls(_sources(solution), {cell: _reach(assignment, cell, solution) for cell in sorted(trained)})

    def left_alone_by(self, variant: NotebookNode) -> frozenset[str]:
        """The trained cells that the solution's answers with some cells edited can not change."""
        edited = {name: source for name, source in _sources(variant).items() if self.sources.get(name) != source}
        if not all(map(_only_defines, edited.values())):
            return frozenset()
        bound = {name for source in edited.values() for name in _bound(source)}
        return frozenset(
            cell for cell, reach in self.reach.items() if not edited.keys() & reach.cells and not bound & reach.names
        )


def _sources(notebook: NotebookNode) -> dict[str, str]:
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    return {name: cell.source for cell in code if (name := ipynb.grade_id(cell))}


def _reach(assignment: Assignment, cell: str, solution: NotebookNode) -> Reach:
    code = [part for part in solution.cells if part.cell_type == "code"]
    checks = [check for check in assignment.checks if check.cell == cell]
    tasks = {check.trains for check in checks if check.trains is not None}
    trainings = [assignment.config.training[task] for task in sorted(tasks)]
    definitions = definitions_of(assignment)
    nodes = definitions.reach([Node(check.path.resolve(), check.name) for check in checks])
    ours = (tree for node in nodes if ENGINE not in node.file.parents for tree in definitions.tree_of(node))
    names = {name for tree in ours for name in _asked(tree)}
    names |= {name for training in trainings for name in (training.name, training.build)}
    tags = {f"train:{task}" for task in tasks}
    found: set[int] = set()
    while more := {
        n for n, p in enumerate(code) if n not in found and (tags & set(ipynb.tags(p)) or _bound(p.source) & names)
    }:
        found |= more
        names |= {name for number in more for name in _used(code[number].source)}
    return Reach(frozenset(filter(None, (ipynb.grade_id(code[number]) for number in found))), frozenset(names))


def _only_defines(source: str) -> bool:
    """Whether running a cell binds names and does nothing else."""
    tree = _parsed(source)
    return tree is not None and all(
        isinstance(statement, DEFINES)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for statement in tree.body
    )


def _bound(source: str) -> frozenset[str]:
    """The names that a cell binds, or writes into, in the notebook's own scope."""
    tree = _parsed(source)
    return frozenset() if tree is None else frozenset(_binds(tree))


def _binds(tree: ast.AST) -> Iterator[str]:
    for part in ast.iter_child_nodes(tree):
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield part.name
            yield from (name for inner in ast.walk(part) if isinstance(inner, ast.Global) for name in inner.names)
            continue
        if isinstance(part, ast.alias):
            yield (part.asname or part.name).split(".")[0]
        elif isinstance(part, ast.Name | ast.Attribute | ast.Subscript) and not isinstance(part.ctx, ast.Load):
            root: ast.AST = part
            while isinstance(root, ast.Attribute | ast.Subscript):
                root = root.value
            if isinstance(root, ast.Name):
                yield root.id
        yield from _binds(part)


def _used(source: str) -> frozenset[str]:
    """The names that a cell takes from the notebook's own scope, and has not bound itself before."""
    tree = _parsed(source)
    used: set[str] = set()
    bound: set[str] = set()
    for statement in [] if tree is None else tree.body:
        binds = set(_binds(ast.Module([statement], [])))
        again = {name for part in ast.walk(statement) if isinstance(part, ASSIGNS) for name in _read(part)}
        used |= (_read(statement) - (binds - again)) - bound
        bound |= binds
    return frozenset(used)


def _read(statement: ast.stmt) -> set[str]:
    """The names of the notebook's own scope that a statement reads, in functions too unless a local hides them."""
    scopes = [symtable.symtable(ast.unparse(statement), "statement", "exec")]
    found = {symbol.get_name() for symbol in scopes[0].get_symbols() if symbol.is_referenced()}
    while scopes:
        scope = scopes.pop()
        found |= {s.get_name() for s in scope.get_symbols() if s.is_global() and scope.get_type() != "module"}
        scopes += scope.get_children()
    return found


def _asked(tree: ast.AST) -> Iterator[str]:
    """What a check might ask a student's notebook for: `student.name`, or a name as a text."""
    for part in ast.walk(tree):
        if isinstance(part, ast.Attribute):
            if isinstance(part.value, ast.Name) and part.value.id == STUDENT:
                yield part.attr
        elif isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.isidentifier():
            yield part.value


def _parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):  # as with a line of IPython's own
        return None
