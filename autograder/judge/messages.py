"""What a student reads of a check: of a hidden one, nothing that a sandbox wrote.

A hidden check's sizes, order and inputs stand in the words of an error that student code raises on them. In the place
of such words the student gets a sentence of ours with the line of their own notebook; the words are kept for the TA.
The name of a class, of a parameter or a text that was returned is chosen by the sandbox as well: such a word stays in a
message only if it is made of names that stand in what was handed in, or that torch gives.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from autograder.errors import StudentFault

PLACE = re.compile(r"(cell \d{1,4}|[\w-]+\.py), line (\d{1,5})(?:: |$)")
LINE = 200  # characters of a line
BEGINS = 40  # of the line by which a cell is known
NAME = re.compile(r"[^\W\d]\w*")
PARTS = 10  # of the name of a parameter
CUT = 20  # characters of a word by which it is known where it was cut
_PARAMETERS = """weight bias in_proj_weight in_proj_bias out_proj weight_ih_l0 weight_hh_l0 bias_ih_l0 bias_hh_l0
running_mean running_var num_batches_tracked parametrizations original original0 original1 ndarray OrderedDict"""
_KNOWN = frozenset([*dir(builtins), *dir(torch), *dir(torch.nn), *_PARAMETERS.split()])


def guarded(
    said: dict[str, Any], fault: BaseException, sources: Mapping[str, str], words: Iterable[str] = ()
) -> dict[str, Any]:
    """The outcome of a hidden check as its student may read it.

    Args:
        said: the outcome, as a public check has it.
        sources: what was handed in, by the names that places have: "cell 3", "helper.py".
        words: that the sandbox sent in this check.
    """
    told = _plainly(said, fault, sources)
    known = _KNOWN.union(*(NAME.findall(source) for source in sources.values()))
    strange = sorted((word for word in words if not _is_made_of(known, word)), key=len, reverse=True)
    shown = {name: _without(strange, told[name]) for name in ("message", "hint") if told.get(name)}
    changed = shown.get("message") != told.get("message") and not told.get("full")
    return told | shown | ({"full": told["message"]} if changed else {})


def _plainly(said: dict[str, Any], fault: BaseException, sources: Mapping[str, str]) -> dict[str, Any]:
    if isinstance(fault, StudentFault):
        told: dict[str, Any] = {"where": place_of(fault.where, sources)}
        if fault.plain is not None:
            told |= {"message": fault.plain, "full": _whole(fault)}
        return said | told
    if said["outcome"] == "failed" and said.get("stumbled"):
        message = f"what your code returned could not be used here ({type(fault).__name__})"
        return said | {"message": message, "full": said["message"]}
    return said


def _is_made_of(known: Collection[str], word: str) -> bool:
    """Whether a word is a name like `layers.0.weight`, of known parts and small numbers."""
    parts = word.split(".")
    return len(parts) <= PARTS and all(part in known or (part.isdecimal() and len(part) <= 2) for part in parts)


def _without(strange: Sequence[str], text: str) -> str:
    """A text in which no strange word stands, nor what remains of a long one that was cut."""
    for word in strange:
        for written in {word, repr(word)[1:-1]}:
            if len(written) > 1:
                text = text.replace(written, "…")
            if len(written) > CUT and written[:CUT] in text:
                text = text[: text.index(written[:CUT])] + "…"
    return text


def sources_of(cells: Sequence[Mapping[str, Any]], files: Mapping[str, bytes]) -> dict[str, str]:
    """What was handed in, by the names that places in it have."""
    found = {f"cell {cell['number']}": str(cell["source"]) for cell in cells if cell["number"] is not None}
    code = {name: content for name, content in files.items() if name.endswith(".py")}
    return found | {name: content.decode("utf-8", "replace") for name, content in code.items()}


def place_of(where: str | None, sources: Mapping[str, str]) -> str | None:
    """A place in what was handed in: the function around it and the text of its line, both from our own copy."""
    found = PLACE.match(where or "")
    if found is None or found[1] not in sources:
        return None
    source, number = sources[found[1]], int(found[2])
    lines = source.split("\n")
    if not 0 < number <= len(lines):
        return None
    inside = ".".join(_around(source, number))
    text = lines[number - 1].strip()[:LINE]
    return _named(found[1], source, inside, number) + (f": {text}" if text else "")


def _named(place: str, source: str, inside: str, number: int) -> str:
    """A line as its author finds it: no notebook shows the numbers of its cells."""
    if not place.startswith("cell "):
        return f"{place}, line {number}" + (f", in `{inside}`" if inside else "")
    if inside:
        return f"`{inside}`, line {number} of its cell"
    return f"the cell that begins with `{first_line(source)}`, line {number}"


def first_line(source: str) -> str:
    """What a cell begins with, cut."""
    return next((line.strip()[:BEGINS] for line in source.split("\n") if line.strip()), "")


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
