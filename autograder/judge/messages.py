"""What a student reads of a check: of a hidden one, nothing that a sandbox wrote.

A hidden check's sizes, order and inputs stand in the words of an error that student code raises on them. In the place
of such words the student gets a sentence of ours with the line of their own notebook; the words are kept for the TA.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from autograder.errors import StudentFault

PLACE = re.compile(r"(cell \d{1,4}|[\w-]+\.py), line (\d{1,5})(?:: |$)")
LINE = 200  # characters of a line


def guarded(said: dict[str, Any], fault: BaseException, sources: Mapping[str, str]) -> dict[str, Any]:
    """The outcome of a hidden check as its student may read it.

    Args:
        said: the outcome, as a public check has it.
        sources: what was handed in, by the names that places have: "cell 3", "helper.py".
    """
    if isinstance(fault, StudentFault):
        told: dict[str, Any] = {"where": place_of(fault.where, sources)}
        if fault.plain is not None:
            told |= {"message": fault.plain, "full": _whole(fault)}
        return said | told
    if said["outcome"] == "failed" and said.get("stumbled"):
        message = f"what your code returned could not be used here ({type(fault).__name__})"
        return said | {"message": message, "full": said["message"]}
    return said


def place_of(where: str | None, sources: Mapping[str, str]) -> str | None:
    """A place in what was handed in, with the function around it and the text of its line, both from our own copy."""
    found = PLACE.match(where or "")
    if found is None or found[1] not in sources:
        return None
    source, number = sources[found[1]], int(found[2])
    lines = source.split("\n")
    if not 0 < number <= len(lines):
        return None
    inside = ".".join(_around(source, number))
    text = lines[number - 1].strip()[:LINE]
    return f"{found[1]}, line {number}" + (f", in `{inside}`" if inside else "") + (f": {text}" if text else "")


def _around(source: str, line: int) -> Iterator[str]:
    """Names of the classes and functions around a line, from the outside."""
    try:
        level: list[ast.stmt] = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    while level:
        node = next((n for n in level if n.lineno <= line <= (n.end_lineno or n.lineno)), None)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        level = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)] if node else []


def _whole(fault: StudentFault) -> str:
    return fault.message if fault.where is None else f"{fault.message}\n{fault.where}"
