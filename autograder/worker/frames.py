"""What an exception of the student's code says, and where in their own code it was raised.

Exceptions are hostile values too: `__str__` may raise or lie, text may be endless. Everything is read through the base
types' own slots and cut.
"""

from __future__ import annotations

import linecache
import sysconfig
from pathlib import Path
from typing import Any

import torch

MESSAGE_LIMIT = 2000
LINE_LIMIT = 200

_traceback_of = BaseException.__dict__["__traceback__"].__get__
_name_of = type.__dict__["__name__"].__get__
_getline = linecache.getline
_stored = linecache.cache
_FRAMES = 10_000  # of a runaway recursion with a raised limit
_NOT_STUDENTS = (
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    str(Path(torch.__file__).parent.parent),
    str(Path(__file__).parent.parent),
    "<frozen ",
    "<string>",
    "<__array_function__",
)


def cell_file(number: int) -> str:
    """The file name under which cell `number` is compiled; tracebacks and `inspect` find its source by it."""
    return f"<cell {number}>"


def register(number: int, source: str) -> str:
    """Makes the cell's lines known to tracebacks. Returns its file name."""
    name = cell_file(number)
    _stored[name] = (len(source), None, [line + "\n" for line in source.split("\n")], name)
    return name


def is_students(file: str) -> bool:
    """Whether the code of a file is the student's: a cell's, or a module's that is neither installed nor ours."""
    return not file.startswith(_NOT_STUDENTS)


def student_frame(error: BaseException) -> str | None:
    """The last frame of the student's own code, as "cell 12, line 3: text of the line"; None if there is none."""
    found = None
    step = _traceback_of(error)
    for _ in range(_FRAMES):
        if step is None:
            break
        name = step.tb_frame.f_code.co_filename
        if is_students(name):
            found = (name, step.tb_lineno, step.tb_frame.f_code.co_name)
        step = step.tb_next
    if issubclass(type(error), SyntaxError):
        name, line = getattr(error, "filename", None), getattr(error, "lineno", None)
        if type(name) is str and type(line) is int and name.startswith("<cell "):
            found = (name, line, "<module>")
    return None if found is None else _place(*found)


def _place(name: str, line: int, function: str) -> str:
    if name.startswith("<cell "):
        where = name[1:-1]
    elif name.startswith("<ipython-input") or "ipykernel_" in name:  # a notebook's own kernel does not number cells
        where = "this notebook" if function == "<module>" else f"`{function}`"
    else:
        where = Path(name).name
    text = clean(_getline(name, line).strip(), LINE_LIMIT)
    return f"{where}, line {line}" + (f": {text}" if text else "")


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as data: its type's name, its message (at most 2000 characters), the student's last frame."""
    try:
        syntax = issubclass(type(error), SyntaxError)
        message = clean(str(getattr(error, "msg", error) if syntax else error), MESSAGE_LIMIT)  # place apart
    except BaseException as second:  # a hostile __str__ may raise anything
        message = f"(its message could not be read: {clean(_name_of(type(second)))})"
    try:
        where = student_frame(error)
    except BaseException:
        where = None
    return {"type": clean(_name_of(type(error))), "message": message, "where": where}


def clean(text: str, limit: int = LINE_LIMIT) -> str:
    """Text that any document can hold: cut at `limit` characters, lone surrogates replaced."""
    text = str.__str__(text)
    if len(text) > limit:
        text = str.__getitem__(text, slice(limit - 1)) + "…"
    return text.encode("utf-8", "replace").decode("utf-8")
