"""Does anything hidden stand in a file that is about to be handed out?

`authoring.secrets` says what is hidden; further the names of the hidden packages, and every canary.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator

from autograder.authoring.secrets import Secrets, normal
from autograder.errors import UnreadableError
from autograder.homework import ipynb

CANARY = re.compile(r"(?i)\bcanary[-_:][\w-]{6,}")
# written so that it does not find itself in the wheel that a release carries
HIDDEN = re.compile(r"\b(?:from|import)\s+solutions\b|\breference[_]models\b")
TEXT = (".py", ".md", ".yaml", ".yml", ".txt", ".json", ".ipynb", ".cfg", ".toml", ".csv")


def find_leaks(files: dict[str, bytes], secrets: Secrets) -> Iterator[str]:
    """One sentence for each hidden thing in `files`, naming file and line."""
    for name, data in _unpacked(files):
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


def _unpacked(files: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """The files, and in the place of a wheel what it holds; its metadata and templates are text as well."""
    for name, data in files.items():
        if not name.endswith(".whl"):
            yield name, data
            continue
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                kind = "" if member.endswith(TEXT) else ".txt"
                yield f"{name}/{member}{kind}", archive.read(member)


def _search(place: str, text: str, secrets: Secrets) -> Iterator[str]:
    window: list[tuple[int, str]] = []
    longest = max(secrets.longest, 1)
    for number, line in enumerate(text.split("\n"), start=1):
        plain = normal(line)
        for pattern, kind in ((CANARY, "a canary"), (HIDDEN, "the name of a hidden package")):
            if pattern.search(line):
                yield f"{place}, line {number} has {kind}: {line.strip()[:80]!r}."
        if (what := _line_secret(plain, secrets)) is not None:
            yield f"{place}, line {number} is part of {what}: {line.strip()[:80]!r}."
        elif plain:
            window = [*window, (number, plain)][-longest:]
            row = tuple(part for _, part in window)
            for start, (first, _) in enumerate(window):
                if (found := secrets.rows.get(row[start:])) is not None:
                    yield f"{place}, lines {first} to {number} are part of {found}."
                    break


def _line_secret(line: str, secrets: Secrets) -> str | None:
    if line in secrets.lines:
        return secrets.lines[line]
    if match := re.match(r"(?:async )?def (test_\w+) ?\(", line):
        return secrets.lines.get(normal(f"def {match[1]}("))
    return None


def _parts(name: str, data: bytes) -> list[tuple[str, str]]:
    """The texts of a file with their places: the file itself, or a notebook's cells."""
    if not name.endswith(".ipynb"):
        return [(name, data.decode("utf-8"))]
    notebook, _ = ipynb.parse(data)
    return [(f"{name}, cell {number}", cell.source) for number, cell in enumerate(notebook.cells, start=1)]
