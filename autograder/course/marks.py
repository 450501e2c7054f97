"""Marks that people give, as a file of a spreadsheet: `student;points`, or `student,points_1,points_2`.

Separated by commas, semicolons or tabs, with or without a byte-order mark, decimals with a point or a comma. Every
problem is said with its line, and a file with problems gives nothing.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from autograder.course.formula import shown
from autograder.course.grades import Marks
from autograder.errors import UserError

NUMBER = re.compile(r"[+-]?\d{1,9}([.,]\d{1,9})?")
PART = re.compile(r"points[ _]?(\d+)?")
IGNORED = re.compile(r"name|topic[ _]?\d*|question[ _]?\d*|note")  # columns of a marking sheet that give no marks
STUDENT = ("student", "id")
LARGEST = 4 << 20  # bytes


def read_marks(
    path: Path, students: Collection[str], parts: int, most: Fraction | None, unit: str = "points"
) -> dict[str, Marks]:
    """Student -> a mark for each part; an empty field gives none.

    Args:
        students: ids of the course, or id -> name; if empty, everybody is taken as they stand.
        parts: how many marks each gets.
        most: of one mark; None if there is no bound.

    Raises:
        UserError: one sentence for each problem, with its line.
    """
    rows, columns = _table(path, parts)
    known = {student.casefold(): student for student in students}
    found: dict[str, Marks] = {}
    first: dict[str, int] = {}
    problems = []
    for number, row in rows:
        value = {name: (row[at].strip() if at < len(row) else "") for name, at in columns.items()}
        if not any(field.strip() for field in row):
            continue
        student = known.get(value["student"].casefold(), "" if known else value["student"])
        place = f"{path}, line {number}"
        if not student:
            problems.append(f"{place}: {_stranger(value['student'], students)}")
            continue
        if student in first:
            problems.append(f"{place}: `{student}` is there already, in line {first[student]}.")
            continue
        first[student] = number
        marks: list[Fraction | None] = []
        for part in range(1, parts + 1):
            text = value[f"points {part}"]
            wrong = _wrong(text, most, unit)
            if wrong:
                problems.append(f"{place}: {student}: {text!r} {wrong}.")
            marks.append(None if wrong or not text else Fraction(text.replace(",", ".")))
        if any(mark is not None for mark in marks):
            found[student] = tuple(marks)
    if problems:
        raise UserError("\n".join(problems))
    if not found:
        raise UserError(f"{path} gives no marks: below its header every field of points is empty.")
    return found


def _stranger(written: str, students: Collection[str]) -> str:
    if not written:
        return "the student's id is missing."
    names = students if isinstance(students, Mapping) else {}
    ids = [who for who, name in names.items() if name and name.casefold() == written.casefold()]
    if ids:
        return f"`{written}` is a name; write the student's id, {' or '.join(f'`{who}`' for who in ids)}."
    return f"`{written}` is no student of the course; write an id of its list of students."


def merged(old: Mapping[str, Marks], new: Mapping[str, Marks]) -> dict[str, Marks]:
    """What changes: students whose marks are not what they were; a part that is empty in the file stays as it was."""
    changes = {}
    for student, marks in new.items():
        before = old.get(student, (None,) * len(marks))
        before = (*before, *(None,) * len(marks))[: len(marks)]
        after = tuple(was if mark is None else mark for mark, was in zip(marks, before, strict=True))
        if after != old.get(student):
            changes[student] = after
    return changes


def said(marks: Marks | None) -> str:
    """Marks for people: "7", "7 and 8", "7 and –"."""
    return "none" if marks is None else " and ".join("–" if mark is None else shown(mark) for mark in marks)


def _wrong(text: str, most: Fraction | None, unit: str) -> str:
    if not text:
        return ""
    if not NUMBER.fullmatch(text):
        return "is no number"
    value = Fraction(text.replace(",", "."))
    if value < 0:
        return "is less than nothing"
    return f"is more than the {shown(most)} {unit} there are" if most is not None and value > most else ""


def _table(path: Path, parts: int) -> tuple[list[tuple[int, list[str]]], dict[str, int]]:
    """Rows with their line numbers, and where each column stands."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as CSV UTF-8.") from None
    if len(data) > LARGEST:
        raise UserError(f"{path} is larger than {LARGEST >> 20} MB; that is no list of marks.")
    header = text.split("\n", 1)[0]
    separator = max(";", ",", "\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        numbered = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}.") from None
    if not numbered:
        raise UserError(f"{path} is empty.")
    return numbered[1:], _columns(path, numbered[0][1], parts)


def _columns(path: Path, header: Sequence[str], parts: int) -> dict[str, int]:
    wanted = "points" if parts == 1 else ", ".join(f"points_{n}" for n in range(1, parts + 1))
    found: dict[str, int] = {}
    for at, title in enumerate(header):
        name = title.strip().casefold()
        part = PART.fullmatch(name)
        key = "student" if name in STUDENT else f"points {part[1] or 1}" if part else ""
        if not key and (IGNORED.fullmatch(name) or not name):
            continue
        if not key or (part and not 1 <= int(part[1] or 1) <= parts):
            raise UserError(
                f"{path}, line 1: unknown column `{title.strip()}`; there are student, {wanted}, name, note."
            )
        if key in found:
            raise UserError(f"{path}, line 1: the column `{title.strip()}` is there twice.")
        found[key] = at
    missing = [key for key in ("student", *(f"points {n}" for n in range(1, parts + 1))) if key not in found]
    if missing:
        raise UserError(f"{path}, line 1: a column is missing; there should be student, {wanted}.")
    return found
