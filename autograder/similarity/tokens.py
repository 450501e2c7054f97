"""A submission's code as tokens that stay when names, comments, formatting and the order of cells change.

Pygments reads it, so that a cell with a syntax error or a shell line is read as well. Every name that Python does not
have of its own becomes one letter, every text and every number another, comments and empty space vanish. A block, the
lines of one definition or of a run of statements between two, is cut out as a unit: units are compared in any order.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from nbformat import NotebookNode
from pygments import lex
from pygments.lexers import PythonLexer
from pygments.token import Comment, Literal, Name, Text

from autograder.homework import ipynb

KEPT = frozenset(dir(builtins)) | frozenset(keyword.kwlist)
SHELL = re.compile(r"^\s*[!%?].*$", re.MULTILINE)
DEFINITION = re.compile(r"(?:async\s+)?(?:def|class)\b|@")


@dataclass(frozen=True)
class Unit:
    """One top-level definition, or the statements between two."""

    place: str  # "cell 12"
    source: str
    tokens: tuple[str, ...]
    lines: tuple[int, ...]  # of each token, counted from 0 in the source


def units_of(notebook: NotebookNode, modules: Iterable[tuple[str, str]] = ()) -> list[Unit]:
    """All code of a notebook, and of the modules beside it, in units."""
    found: list[Unit] = []
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code" and not ipynb.nbgrader_metadata(cell).get("locked"):
            found += _units(f"cell {number}", cell.source)
    for name, source in modules:
        found += _units(name, source)
    return found


def _units(place: str, source: str) -> Iterator[Unit]:
    block: list[str] = []
    for line in [*SHELL.sub("", source.expandtabs(4)).split("\n"), "\0"]:
        begins = line[:1].strip() and (DEFINITION.match(line) or line == "\0" or _was_definition(block))
        if begins and not (block and block[-1].startswith("@")):
            text = "\n".join(block).strip("\n")
            tokens = list(_tokens(text))
            if tokens:
                yield Unit(place, text, tuple(t for t, _ in tokens), tuple(line for _, line in tokens))
            block = []
        block.append(line)


def _was_definition(block: Sequence[str]) -> bool:
    """True if a definition is what was going on, so that a line without indentation ends it."""
    first = next((line for line in block if line.strip()), "")
    return bool(DEFINITION.match(first)) and len([line for line in block if line.strip()]) > 1


@cache
def _lexer() -> PythonLexer:
    return PythonLexer(ensurenl=False, stripnl=False)


def _tokens(source: str) -> Iterator[tuple[str, int]]:
    """Normalised tokens, each with its line."""
    line = 0
    string = False
    for kind, value in lex(source, _lexer()):
        if kind in Literal.String.Doc or kind in Comment or (kind in Text and not value.strip()):
            pass
        elif kind in Literal.String:
            if not string:
                yield "S", line
        elif kind in Literal.Number:
            yield "N", line
        elif kind in Name and value not in KEPT:
            yield "V", line
        elif value.strip():
            yield value.strip(), line
        string = kind in Literal.String and kind not in Literal.String.Doc
        line += value.count("\n")
