"""Which of several notebooks that were handed in together is the homework."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from autograder.errors import RefusedError
from autograder.homework import ipynb
from autograder.homework.assignment import Assignment
from autograder.submissions.archive import NOTEBOOK, Entry
from autograder.submissions.beside import show

READ = 20  # notebooks that are looked into
APART = timedelta(minutes=1)  # files that were copied together differ by less
NUMBERED = re.compile(r"(?:-(\d{1,3})|\s*\((\d{1,3})\))$")  # by Canvas and Moodle, by browsers


def choose(path: str, entries: Sequence[Entry], assignment: Assignment, notes: list[str]) -> Entry:
    """The notebook that is graded; what a student should know of the choice is added to `notes`.

    Of several those count that hold a task of the homework. The one written last is taken, then the one that has its
    name, then the one that a course page numbered highest.

    Args:
        path: the name under which everything was handed in.

    Raises:
        RefusedError: there is none, or nothing tells which.
    """
    wanted = assignment.template_path.name
    notebooks = [entry for entry in entries if entry.is_notebook]
    if not notebooks:
        given = ", ".join(f"`{show(entry)}`" for entry in entries[:5]) or "nothing"
        raise RefusedError(f"There is no notebook `{wanted}`; handed in: {given}.")
    mine = notebooks if len(notebooks) == 1 else _with_tasks(notebooks, assignment) or notebooks
    chosen = mine[0] if len(mine) == 1 else _last(mine) or _by_name(mine, wanted)
    if chosen is None:
        names = ", ".join(f"`{show(entry)}`" for entry in notebooks[:5])
        many = f"There are {len(notebooks)} notebooks ({names})"
        raise RefusedError(f"{many} and it is not clear which one is `{wanted}`.")
    if len(mine) > 1:
        names = ", ".join(f"`{show(entry)}`" for entry in mine[:5])
        notes.append(f"{len(mine)} notebooks hold tasks of this homework ({names}); `{show(chosen)}` was graded.")
    elif _plain(chosen, wanted)[0] != wanted.lower() and chosen.parts != (path,):
        notes.append(f"The notebook is called `{show(chosen)}` instead of `{wanted}`; it was graded.")
    return chosen


def _with_tasks(notebooks: Sequence[Entry], assignment: Assignment) -> list[Entry]:
    """Those in which a name of a graded cell stands; of equal ones the first."""
    names = [f'"{name}"'.encode() for name in assignment.cells]
    found: dict[bytes, Entry] = {}
    for entry in notebooks[:READ]:
        try:
            data = entry.read(ipynb.PRINTED_BYTES)
        except RefusedError:
            continue
        if any(name in data for name in names):
            found.setdefault(data, entry)
    return list(found.values())


def _last(notebooks: Sequence[Entry]) -> Entry | None:
    """The one that was written after all others, if their times tell."""
    times = [(entry.modified, entry) for entry in notebooks]
    if any(when is None for when, _ in times):
        return None
    newest, second = sorted(times, key=lambda item: aware(item[0]))[:-3:-1]
    return newest[1] if aware(newest[0]) - aware(second[0]) > APART else None


def aware(when: datetime | None) -> datetime:
    """A time that can be compared with others of the same source."""
    assert when is not None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when


def _by_name(notebooks: Sequence[Entry], wanted: str) -> Entry | None:
    """The one of the homework's name; of those that were numbered the last."""
    named = [entry for entry in notebooks if _plain(entry, wanted)[0] == wanted.lower()]
    named = [entry for entry in named if len(entry.parts) == 1] or named
    numbers = sorted(((_plain(entry, wanted)[1], entry) for entry in named), key=lambda item: item[0])
    if not numbers or (len(numbers) > 1 and numbers[-1][0] == numbers[-2][0]):
        return None
    return numbers[-1][1]


def _plain(entry: Entry, wanted: str) -> tuple[str, int]:
    """The name that a notebook was given, in small letters, and the number that was added to it."""
    name = NOTEBOOK.sub(".ipynb", entry.name).lower()
    stem = name.removesuffix(".ipynb")
    found = None if name == wanted.lower() else NUMBERED.search(stem)
    if found is None:
        return name, 0
    return f"{stem[: found.start()]}.ipynb", int(found[1] or found[2])
