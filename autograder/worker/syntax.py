"""What of IPython's syntax runs in place, and what of Python's is newer than the Python here.

%%time, %%timeit, %%prun, %%capture out   the body runs once, as the cell itself, and its errors count
%time model = fit()                       model = fit()
import torch, seaborn                     two statements, so that the second cannot take the first with it
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from typing import Any

from .newer import needed_version

IN_PLACE = ("time", "prun")  # line magics that run a statement
_CELL_IN_PLACE = re.compile(r"%%(time|timeit|prun|capture)\b(.*)")
_OPTION = re.compile(r"\s*--?\w[\w-]*(?:=\S*|\s*\d+)?")


@dataclass(frozen=True)
class Body:
    """A cell without the magics that its body runs under; every line keeps its number."""

    source: str
    captures: bool = False
    bind: str | None = None  # the name that gets what was captured


def body_of(source: str) -> Body:
    """Takes `%%time` and its like off the top of a cell."""
    lines = source.split("\n")
    captures, bind = False, None
    for position, line in enumerate(lines):
        if not line.strip():
            continue
        magic = _CELL_IN_PLACE.match(line)
        if magic is None:
            break
        lines[position] = ""
        rest = magic[2].split("#")[0]
        if magic[1] == "capture":
            words = [word for word in rest.split() if not word.startswith("-")]
            captures, bind = True, words[0] if words and words[0].isidentifier() else bind
        elif magic[1] == "timeit":
            lines[position] = _without_options(rest)  # what `%%timeit` runs first
    return Body("\n".join(lines), captures, bind)


def in_place(tree: ast.Module) -> ast.Module:
    """The statements of a cell as they run one after the other."""
    tree = _RunsInPlace().visit(tree)
    tree.body = [part for statement in tree.body for part in one_by_one(statement)]
    return ast.fix_missing_locations(tree)


def asks_for_colab(tree: ast.Module) -> bool:
    """Whether `google.colab` is imported inside a `try`, that is, whether the cell asks if this is Colab."""
    for block in ast.walk(tree):
        if isinstance(block, ast.Try):
            for statement in block.body:
                names = [alias.name for alias in statement.names] if isinstance(statement, ast.Import) else []
                names += [statement.module or ""] if isinstance(statement, ast.ImportFrom) else []
                if any(name.split(".")[:2] == ["google", "colab"] for name in names):
                    return True
    return False


def name_version(error: SyntaxError, source: str) -> None:
    """Says in a SyntaxError which Python the cell needs, if a newer one than this would take it."""
    found = needed_version(source)
    if found is not None and found.version > sys.version_info[:2]:
        needed, here = ("{}.{}".format(*version) for version in (found.version, sys.version_info))
        error.msg = f"{found.what} needs Python {needed}; notebooks are graded with Python {here}"


class _RunsInPlace(ast.NodeTransformer):
    """`%time` and `%prun` before a statement or an expression become what follows them."""

    def visit_Expr(self, node: ast.Expr) -> Any:
        line = _line_of(node.value)
        if line is None:
            return self.generic_visit(node)
        try:
            body = ast.parse(line).body
        except SyntaxError:
            return node  # IPython says what is wrong
        for statement in body:
            _place(statement, node)
        return body or ast.copy_location(ast.Pass(), node)

    def visit_Call(self, node: ast.Call) -> Any:
        line = _line_of(node)
        if line is None:
            return self.generic_visit(node)
        try:
            return _place(ast.parse(line, mode="eval").body, node)
        except SyntaxError:
            return node


def _line_of(node: ast.AST) -> str | None:
    """The line after `%time`, if this is IPython's call of it."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) == 2):
        return None
    asked, args = node.func, [arg.value if isinstance(arg, ast.Constant) else None for arg in node.args]
    shell = isinstance(asked.value, ast.Call) and isinstance(asked.value.func, ast.Name)
    if not shell or asked.attr != "run_line_magic" or args[0] not in IN_PLACE or type(args[1]) is not str:
        return None
    return _without_options(args[1]) or None


def _without_options(line: str) -> str:
    while option := _OPTION.match(line):
        line = line[option.end() :]
    return line.strip()


def _place(tree: Any, at: ast.expr | ast.stmt) -> Any:
    """A parsed line where it stood in the cell."""
    for node in ast.walk(tree):
        if isinstance(node, ast.expr | ast.stmt):
            node.lineno = node.end_lineno = at.lineno
    return tree


def one_by_one(statement: ast.stmt) -> list[ast.stmt]:
    """An import of several modules as an import of each."""
    if not isinstance(statement, ast.Import):
        return [statement]
    return [ast.copy_location(ast.Import([name]), statement) for name in statement.names]
