"""IPython's own syntax, taken out of a cell that is not Python as it stands.

    !pip install x        not run           %cd data              not run
    files = !ls           files = []        %time model = fit()   model = fit()
    %%time, %%capture     the body runs     %%bash, %%writefile   the whole cell is left out
    torch.load?           not run

Every line keeps its number. A line inside a string or an open bracket is never touched: a scanner follows quotes,
brackets, comments and continuations from the top.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

_BODY_RUNS = {"time", "timeit", "capture", "prun", "python", "python3"}
_STATEMENT_RUNS = {"time", "prun"}
_CELL = re.compile(r"\s*%%(\w+)")
_LINE = re.compile(r"(\s*)(?:([\w.,\s\[\]'\"()*]+?)\s*=\s*)?(!!?|%)(?!=)\s*(\w*)(.*)", re.DOTALL)
_HELP = re.compile(r"(\s*)(?:\?{1,2}\s*%{0,2}[\w.*]+|%{0,2}[\w.*]+\s*\?{1,2})\s*")
_SHOWN = 80  # characters of a line named in a note
_QUOTES = ('"""', "'''", '"', "'")


def neutralise(source: str, note: Callable[[str], None]) -> str:
    """The cell as plain Python; `note` is told each line that is not run. What is Python comes back as it is."""
    lines = source.split("\n")
    if ("%" not in source and "!" not in source and "?" not in source) or _is_python(source):
        return source
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    magic = _CELL.match(lines[first])
    if magic:
        if magic[1] not in _BODY_RUNS:
            note(f"`{_short(lines[first])}` and the cell under it were not run")
            return "\n" * (len(lines) - 1)
        lines[first] = ""
        if _is_python("\n".join(lines)):
            return "\n".join(lines)
    return "\n".join(_without_line_magics(lines, note))


def _without_line_magics(lines: list[str], note: Callable[[str], None]) -> list[str]:
    scanner, out = _Scanner(), list[str]()
    while len(out) < len(lines):
        line = lines[len(out)]
        replacement = _replacement(line, note) if scanner.at_top else None
        if replacement is None:
            scanner.feed(line)
            out.append(line)
            continue
        out.append(replacement)
        while line.endswith("\\") and len(out) < len(lines):  # a shell command goes on
            line = lines[len(out)]
            out.append("")
    return out


def _replacement(line: str, note: Callable[[str], None]) -> str | None:
    """Python in the place of a magic line; None if it is none."""
    asked = _HELP.fullmatch(line)
    if asked:
        note(f"`{_short(line)}` was not run")
        return f"{asked[1]}pass"
    found = _LINE.fullmatch(line)
    if not found:
        return None
    indent, target, mark, name, rest = found.groups()
    if mark == "%" and name in _STATEMENT_RUNS and rest.strip():
        return indent + (f"{target} = " if target else "") + rest.strip()
    note(f"`{_short(line)}` was not run")
    if target is None:
        return f"{indent}pass"
    return f"{indent}{target} = {'None' if mark == '%' else '[]'}"


class _Scanner:
    """Knows whether the next line begins a statement."""

    def __init__(self) -> None:
        self._quote: str | None = None
        self._depth = 0
        self._continued = False

    @property
    def at_top(self) -> bool:
        return self._quote is None and self._depth == 0 and not self._continued

    def feed(self, line: str) -> None:
        at = 0
        comment = False
        while at < len(line) and not comment:
            if self._quote is not None:
                if line[at] == "\\":
                    at += 2
                elif line.startswith(self._quote, at):
                    at += len(self._quote)
                    self._quote = None
                else:
                    at += 1
                continue
            self._quote = next((quote for quote in _QUOTES if line.startswith(quote, at)), None)
            if self._quote is not None:
                at += len(self._quote)
                continue
            if line[at] in "([{":
                self._depth += 1
            elif line[at] in ")]}":
                self._depth = max(0, self._depth - 1)
            comment = line[at] == "#"
            at += 1
        goes_on = line.endswith("\\") and not comment
        if self._quote is not None and len(self._quote) == 1 and not goes_on:
            self._quote = None  # a string that was not closed ends with its line
        self._continued = goes_on and self._quote is None


def _is_python(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _short(line: str) -> str:
    line = line.strip()
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
