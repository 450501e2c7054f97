"""Read a notebook file that anybody may have written.

Only what grading needs is kept: cells with type, source, id, tags and nbgrader's metadata. Outputs are dropped unseen.
What is malformed either gets a harmless form (a source that is not text becomes empty) or the file is refused with a
sentence; nothing here raises anything but UnreadableError, and nothing takes time that grows faster than the file.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.errors import UnreadableError

NOTEBOOK_BYTES = 32 << 20  # a notebook with many pictures has a few MB
PRINTED_BYTES = 128 << 20  # of one whose outputs are to be dropped first
MAX_CELLS = 2000  # the longest homework has about 100
MAX_PICTURES = 500  # pasted into text, of all cells
PICTURE_CHARS = 24 << 20  # of all of them, in base64
MAX_MARKS = 100  # entries of one cell's nbgrader metadata
KINDS = ("code", "markdown", "raw")
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
METADATA = {  # of every notebook the engine writes
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def parse(data: bytes) -> tuple[NotebookNode, list[str]]:
    """A notebook in format 4 without outputs, and notes on what was odd about the file.

    Raises UnreadableError: too large, empty, not JSON, not a notebook, a format that is not 3 or 4.
    """
    notes: list[str] = []
    if len(data) > NOTEBOOK_BYTES:
        raise UnreadableError(f"has {len(data) / 2**20:.0f} MB; at most {NOTEBOOK_BYTES >> 20} MB are accepted.")
    if not data.strip():
        raise UnreadableError("is empty.")
    document = _json(_decode(data, notes))
    if not isinstance(document, dict):
        raise UnreadableError("is not a notebook (its JSON is not an object).")
    version = document.get("nbformat")
    if isinstance(version, bool) or not isinstance(version, int):
        raise UnreadableError("is not a notebook (it names no nbformat).")
    if version == 3:
        document = _upgrade(document)
        notes.append("The notebook was in the old format 3 and was upgraded.")
    elif version != 4:
        raise UnreadableError(f"is in notebook format {version}; formats 3 and 4 are accepted.")
    cells = document.get("cells")
    if not isinstance(cells, list):
        raise UnreadableError("is not a notebook (it has no list of cells).")
    if len(cells) > MAX_CELLS:
        notes.append(f"The notebook has {len(cells)} cells; only the first {MAX_CELLS} were looked at.")
    album = _Album()
    kept = [_cell(cell, album) for cell in cells[:MAX_CELLS]]
    if album.left_out:
        notes.append(
            f"The notebook has more than {MAX_PICTURES} pictures in its text, or too large ones; some were left out."
        )
    return as_notebook(kept), notes


def without_outputs(data: bytes) -> bytes:
    """A notebook file of format 4 without its outputs; any other file as it is. Raises UnreadableError."""
    document = _json(_decode(data, []))
    cells = document.get("cells") if isinstance(document, dict) else None
    if not isinstance(cells, list):
        return data
    for cell in cells:
        if isinstance(cell, dict) and "outputs" in cell:
            cell["outputs"] = []
    return json.dumps(document).encode("utf-8", "replace")


def as_notebook(cells: list[dict[str, Any]]) -> NotebookNode:
    """A notebook of these cells with the engine's own metadata."""
    document = {"nbformat": 4, "nbformat_minor": 5, "metadata": METADATA, "cells": cells}
    notebook: NotebookNode = nbformat.from_dict(document)
    return notebook


def to_text(notebook: NotebookNode) -> str:
    """The file's content: the same notebook always gives the same bytes."""
    return str(nbformat.writes(notebook, version=nbformat.NO_CONVERT)) + "\n"


def text(value: object) -> str:
    """Text as notebooks store it (a string or a list of lines), without lone surrogates; anything else is empty."""
    if isinstance(value, list):
        value = "".join(part for part in value if isinstance(part, str))
    if not isinstance(value, str):
        return ""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def nbgrader_metadata(cell: NotebookNode) -> dict[str, Any]:
    """The cell's nbgrader metadata, {} if there is none or it is no mapping."""
    meta = cell.metadata.get("nbgrader") if isinstance(cell.metadata, dict) else None
    return meta if isinstance(meta, dict) else {}


def grade_id(cell: NotebookNode) -> str | None:
    """The cell's grade_id, if it has one that is text."""
    value = nbgrader_metadata(cell).get("grade_id")
    return value if isinstance(value, str) and value else None


def tags(cell: NotebookNode) -> list[str]:
    """The cell's tags, those that are text."""
    value = cell.metadata.get("tags") if isinstance(cell.metadata, dict) else None
    return [tag for tag in value if isinstance(tag, str)] if isinstance(value, list) else []


def _cell(raw: object, album: _Album) -> dict[str, Any]:
    cell = raw if isinstance(raw, dict) else {}
    kind = cell.get("cell_type")
    metadata = cell.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    identifier = text(cell.get("id", metadata.get("id")))  # Colab keeps it among the metadata
    clean: dict[str, Any] = {
        "cell_type": kind if kind in KINDS else "raw",
        "source": text(cell.get("source")).replace("\r\n", "\n").replace("\r", "\n"),
        "metadata": _metadata(metadata),
        "id": identifier if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", identifier) else "",
    }
    if kind == "code":
        clean |= {"outputs": [], "execution_count": None}
    elif pictures := album.of(cell.get("attachments")):
        clean["attachments"] = pictures
    return clean


class _Album:
    """The pictures pasted into the text of one notebook, as many as there is room for."""

    def __init__(self) -> None:
        self._number, self._chars = MAX_PICTURES, PICTURE_CHARS
        self.left_out = False

    def of(self, attachments: object) -> dict[str, dict[str, str]]:
        """Pictures of a text cell: name -> {type: base64}; everything else attached is dropped."""
        found: dict[str, dict[str, str]] = {}
        for name, bundle in attachments.items() if isinstance(attachments, dict) else ():
            if not self._number:
                self.left_out = True
                break
            for kind in PICTURES if isinstance(bundle, dict) else ():
                data = bundle.get(kind)
                if isinstance(data, str) and self._takes(data) and re.fullmatch(r"[A-Za-z0-9+/=\s]*", data):
                    found[text(name)] = {kind: data}
        return found

    def _takes(self, data: str) -> bool:
        fits = self._number > 0 and len(data) <= self._chars
        self.left_out |= not fits
        self._number -= fits
        self._chars -= len(data) if fits else 0
        return fits


def _metadata(raw: dict[str, Any]) -> dict[str, Any]:
    """The tags and the flat part of the nbgrader metadata; the rest of what a student's cell carries is of no use."""
    clean: dict[str, Any] = {}
    marks, tagged = raw.get("nbgrader"), raw.get("tags")
    if isinstance(marks, dict):
        first = islice(marks.items(), MAX_MARKS)
        clean["nbgrader"] = {key: value for key, value in first if isinstance(value, str | int | float)}
    if isinstance(tagged, list):
        clean["tags"] = [text(tag) for tag in tagged[:20] if isinstance(tag, str)]
    return clean


def _decode(data: bytes, notes: list[str]) -> str:
    encoding: str = json.detect_encoding(data)  # UTF-8, -16 or -32, with or without a byte order mark
    try:
        content = data.decode(encoding)
    except UnicodeDecodeError:
        content = data.decode("latin-1")
        encoding = "latin-1"
    if encoding not in {"utf-8", "utf-8-sig"}:
        notes.append(f"The notebook was saved as {encoding} instead of UTF-8.")
    return content


def _json(content: str) -> Any:
    try:
        return json.loads(content)
    except RecursionError:
        raise UnreadableError("is not a notebook (its JSON is nested too deeply).") from None
    except json.JSONDecodeError as error:
        raise UnreadableError(f"is not a notebook (no valid JSON at line {error.lineno}: {error.msg}).") from None
    except ValueError:  # a number of thousands of digits
        raise UnreadableError("is not a notebook (its JSON holds a number that is too long).") from None


def _upgrade(document: dict[str, Any]) -> dict[str, Any]:
    """Format 3 to 4: worksheets become one list, `input` becomes `source`, headings become markdown."""
    sheets = document.get("worksheets")
    cells: list[dict[str, Any]] = []
    for sheet in sheets if isinstance(sheets, list) else []:
        inner = sheet.get("cells") if isinstance(sheet, dict) else None
        for old in inner if isinstance(inner, list) else []:
            cell = old if isinstance(old, dict) else {}
            kind, source = cell.get("cell_type"), text(cell.get("input", cell.get("source")))
            if kind == "heading":
                level = cell.get("level")
                kind = "markdown"
                source = "#" * (level if isinstance(level, int) and 1 <= level <= 6 else 1) + " " + source
            cells.append({"cell_type": kind, "source": source, "metadata": cell.get("metadata")})
    return {"cells": cells}
