"""Which Python a cell needs that this one cannot read.

The older parser says only "invalid syntax". So the newer constructs are taken out of the text one by one; when what is
left parses, they were what it could not read.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Newer:
    """A construct and the Python that brought it."""

    version: tuple[int, int]
    what: str


_LARGEST = 100_000  # characters looked at
_QUOTES = ('"""', "'''", '"', "'")
_PREFIX = re.compile(r"(?<![\w])([A-Za-z]{0,2})$")
_PARAMETERS = re.compile(
    r"^(\s*(?:async\s+def|def|class)\s+\w+)\s*\[(?:[^\[\]]|\[[^\[\]]*\])*\](?=\s*[(:])", re.MULTILINE
)
_ALIAS = re.compile(r"^(\s*)type\s+(\w+)\s*(?:\[(?:[^\[\]]|\[[^\[\]]*\])*\])?\s*=(?!=)", re.MULTILINE)
_EXCEPT = re.compile(r"^(\s*except\*?\s+)([\w.]+(?:\s*,\s*[\w.]+)+)(\s*:)", re.MULTILINE)


def needed_version(source: str) -> Newer | None:
    """The newest construct that, with the older ones, keeps this text from being Python here; None if none does."""
    if len(source) > _LARGEST:
        return None
    found: Newer | None = None
    for newer, take_out in _STEPS:
        try:
            without = take_out(source)
        except RecursionError:  # braces in braces in braces
            return None
        if without != source:
            source, found = without, newer
            if _parses(source):
                return found
    return None


def _without_parameters(source: str) -> str:
    return _PARAMETERS.sub(r"\1", source)


def _without_aliases(source: str) -> str:
    return _ALIAS.sub(r"\1\2 =", source)


def _with_parentheses(source: str) -> str:
    return _EXCEPT.sub(r"\1(\2)\3", source)


def _without_formatted(source: str, marks: str = "f") -> str:
    """The text with the `f"…"` that cannot be read here, but whose parts can, replaced by empty strings."""
    out, at = list[str](), 0
    while at < len(source):
        quote = _quote_at(source, at)
        if quote is None:
            end = _line_end(source, at) if source[at] == "#" else at + 1
            out.append(source[at:end])
            at = end
            continue
        prefix = _PREFIX.search("".join(out[-3:]))
        letters = prefix[1] if prefix is not None else ""
        literal = _Literal(source, at, quote, formatted=any(mark in letters.lower() for mark in marks))
        text = source[at : literal.end]
        if literal.fields and literal.closed and not _parses(letters + text) and all(map(_reads, literal.fields)):
            del out[len(out) - len(letters) :]
            text = '""'
        out.append(text)
        at = literal.end
    return "".join(out)


class _Literal:
    """A string literal of `source` that begins at `at`: where it ends, and what stands inside its braces."""

    def __init__(self, source: str, at: int, quote: str, formatted: bool) -> None:
        self.fields: list[str] = []
        self.closed = False
        self._source = source
        at += len(quote)
        while at < len(source) and not self.closed and not (source[at] == "\n" and len(quote) == 1):
            if source.startswith(quote, at):
                self.closed = True
                at += len(quote)
            elif source[at] == "\\" or (formatted and source.startswith(("{{", "}}"), at)):
                at += 2
            elif formatted and source[at] == "{":
                at = self._field(at + 1)
            else:
                at += 1
        self.end = min(at, len(source))

    def _field(self, at: int) -> int:
        begin, depth = at, 1
        source = self._source
        while at < len(source):
            quote = _quote_at(source, at)
            if quote is not None:
                at = _Literal(source, at, quote, formatted=source[at - 1] in "fFtT").end
                continue
            if source[at] == "#":
                at = _line_end(source, at)
                continue
            depth += 1 if source[at] in "([{" else -1 if source[at] in ")]}" else 0
            if depth == 0:
                break
            at += 1
        self.fields.append(source[begin:at])
        return at + 1


def _reads(field: str) -> bool:
    """Whether what stands inside braces is an expression, perhaps with a conversion and a format behind it."""
    field = _without_formatted(field)
    ends = [len(field), *(found.start() for found in re.finditer(r"[:!=]", field))]
    return any(_parses(f"({field[:end]}\n)") and field[:end].strip() != "" for end in ends[:20])


def _quote_at(source: str, at: int) -> str | None:
    return next((quote for quote in _QUOTES if source.startswith(quote, at)), None)


def _line_end(source: str, at: int) -> int:
    end = source.find("\n", at)
    return len(source) if end < 0 else end


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


_STEPS: tuple[tuple[Newer, Callable[[str], str]], ...] = (
    (Newer((3, 12), "an f-string with its own quotes, a backslash or a comment inside the braces"), _without_formatted),
    (Newer((3, 12), "`def f[T]` or `class A[T]`"), _without_parameters),
    (Newer((3, 12), "a `type` statement"), _without_aliases),
    (Newer((3, 14), "`except A, B` without parentheses"), _with_parentheses),
    (Newer((3, 14), 'a template string t"…"'), lambda source: _without_formatted(source, "t")),
)
