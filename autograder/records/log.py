"""What people decided, in a log that is only ever appended to: overrides, and marks that were not graded here.

`log.jsonl` in the course folder holds one JSON object a line. A line is written with one call and synced before anybody
is told that it is there, so a kill leaves it whole or leaves a beginning without an end of line, which nobody was told
of; that is cut off by the next entry and read by nobody. What counts is what the lines say last, in their order.
"""

from __future__ import annotations

import fcntl
import getpass
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from autograder.course.grades import Marks
from autograder.errors import UserError
from autograder.yamlfile import StrictModel


class Entry(StrictModel):
    """What every line has: when, by whom, why."""

    at: AwareDatetime
    by: str = Field(min_length=1)
    why: str = ""


class Override(Entry):
    """A person gives a cell other points than the checks did; None takes an earlier override back."""

    what: Literal["override"] = "override"
    student: str
    homework: str
    cell: str
    points: float | None = Field(ge=0)
    was: float | None = None  # what counted before


class MarksGiven(Entry):
    """Marks of one component or condition, as they were imported: student -> one for each part, as fractions."""

    what: Literal["marks"] = "marks"
    component: str
    marks: dict[str, list[str | None]]

    def of(self, student: str) -> Marks:
        """Marks of one student."""
        return tuple(None if value is None else Fraction(value) for value in self.marks.get(student, ()))


Line = Annotated[Override | MarksGiven, Field(discriminator="what")]
LINE: TypeAdapter[Override | MarksGiven] = TypeAdapter(Line)


@dataclass(frozen=True)
class Decided:
    """What the log comes to."""

    overrides: Mapping[tuple[str, str], Mapping[str, Override]]  # (student, homework) -> cell -> the one that holds
    taken_back: Mapping[tuple[str, str], Mapping[str, float]]  # likewise, the points that do not hold any more
    marks: Mapping[str, Mapping[str, Marks]]  # component -> student -> marks
    entries: tuple[Override | MarksGiven, ...] = field(repr=False, default=())

    def of(self, student: str, homework: str) -> Mapping[str, Override]:
        """Overrides of one student's homework."""
        return self.overrides.get((student, homework), {})

    def points(self, homework: str) -> dict[str, dict[str, float]]:
        """Student -> cell -> points that a person gave."""
        return {
            student: {cell: one.points for cell, one in mine.items() if one.points is not None}
            for (student, name), mine in self.overrides.items()
            if name == homework
        }

    def withdrawn(self, homework: str) -> dict[str, Mapping[str, float]]:
        """Student -> cell -> points of an override that was taken back."""
        return {student: mine for (student, name), mine in self.taken_back.items() if name == homework}


def read_log(path: Path) -> Decided:
    """What people decided so far. Raises UserError naming file, line and key where a line is none of a log's."""
    try:
        found = path.stat()
    except OSError:
        return _read(path, None)
    return _read(path, (found.st_size, found.st_mtime_ns, found.st_ino))


@lru_cache(maxsize=4)
def _read(path: Path, signature: tuple[int, int, int] | None) -> Decided:
    """The log with this signature: one that has not changed is not read again."""
    entries = tuple(_entries(path))
    overrides: dict[tuple[str, str], dict[str, Override]] = {}
    taken_back: dict[tuple[str, str], dict[str, float]] = {}
    marks: dict[str, dict[str, Marks]] = {}
    for entry in entries:
        if isinstance(entry, MarksGiven):
            given = marks.setdefault(entry.component, {})
            given |= {student: entry.of(student) for student in entry.marks}
            continue
        mine = overrides.setdefault((entry.student, entry.homework), {})
        old = mine.pop(entry.cell, None)
        back = taken_back.setdefault((entry.student, entry.homework), {})
        back.pop(entry.cell, None)
        if entry.points is not None:
            mine[entry.cell] = entry
        elif old is not None and old.points is not None:
            back[entry.cell] = old.points
    return Decided(overrides, taken_back, marks, entries)


def append(path: Path, entry: Override | MarksGiven) -> None:
    """Add one entry, whole or not at all; several may do so at a time."""
    line = entry.model_dump_json(exclude_none=False).encode() + b"\n"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.ftruncate(handle, _whole(handle))
        if os.write(handle, line) != len(line):
            raise UserError(f"{path} cannot be written: the disk is full; what was to be noted is not.")
        os.fsync(handle)
    finally:
        os.close(handle)


def author() -> str:
    """Who is at the keyboard, as the machine knows them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _whole(handle: int) -> int:
    """Bytes up to the end of the last line that has one."""
    size = os.fstat(handle).st_size
    end = size
    while end:
        start = max(0, end - 65536)
        at = os.pread(handle, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def _entries(path: Path) -> Iterator[Override | MarksGiven]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            entry = LINE.validate_json(line)
            if isinstance(entry, MarksGiven):
                all(map(entry.of, entry.marks))
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(part) for part in problem["loc"][1:]) or "what"
            raise UserError(
                f"{path}, line {number}: `{key}`: {problem['msg']}. The log is written by `autograder override` and "
                "`autograder marks import` alone; put the line back as it was."
            ) from None
        except (ValueError, ZeroDivisionError):
            raise UserError(f"{path}, line {number}: `marks` holds what is no number; put the line back.") from None
        yield entry
