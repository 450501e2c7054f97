"""The files that Canvas and Moodle import: the one they export, with the points of a homework filled in.

Both know a row by what they wrote themselves, so every cell but the points stays as it came: header, numbers, order,
and the row of possible points.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from autograder.course.grades import Homework
from autograder.errors import UserError
from autograder.report import exact
from autograder.submissions.roster import Label, Roster

POSSIBLE = "points possible"
TEST_STUDENT = "student, test"


@dataclass
class Filled:
    """A file with points in it.

    Args:
        text: what to import.
        filled: students whose points stand there.
        unknown: rows of the file that are nobody's, with why.
        missing: graded students that the file does not have.
        scaled: points that the file gives at most, where these are not the homework's own.
    """

    text: str
    filled: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    scaled: Fraction | None = None


def canvas(path: Path, homework: str, title: str, points: Mapping[str, Homework], people: Roster) -> Filled:
    """Canvas' gradebook with a homework's points.

    Raises:
        UserError: it is no gradebook of Canvas', or has no column, or several, for the homework.
    """
    table = _Table.read(path)
    name, number = table.column(path, "student"), table.column(path, "id")
    login = next((table.plain.index(one) for one in ("sis login id", "sis user id") if one in table.plain), None)
    columns = [
        position
        for position, head in enumerate(table.plain)
        if re.fullmatch(rf"({re.escape(homework.lower())}|{re.escape(title.lower())})( \(\d+\))?", head)
    ]
    if len(columns) != 1:
        found = "no column" if not columns else f"{len(columns)} columns"
        raise UserError(
            f"{path}, line 1: {found} called `{homework}` or `{title}`; make the assignment in Canvas under one of "
            "these names and export the gradebook again."
        )
    possible = next((row for row in table.rows if row[name].strip().lower() == POSSIBLE), None)

    def label(row: list[str]) -> Label | None:
        who = row[name].strip()
        if who.lower() in (POSSIBLE, TEST_STUDENT) or not who or not row[number].strip():
            return None
        last, _, first = who.partition(",")
        sid = "" if login is None else row[login].strip()
        return Label(f"{first} {last}".strip(), named=True, canvas=row[number].strip(), sid=sid, email=sid)

    most = None if possible is None else _number(possible[columns[0]])
    return table.filled(columns[0], label, points, people, most)


def moodle(path: Path, points: Mapping[str, Homework], people: Roster) -> Filled:
    """Moodle's grading worksheet with a homework's points.

    Raises:
        UserError: it is no grading worksheet.
    """
    table = _Table.read(path)
    column = table.column(path, "grade")
    parts = {key: table.plain.index(head) for key, head in MOODLE.items() if head in table.plain}
    most = None
    if "most" in parts:
        most = next((_number(row[parts["most"]]) for row in table.rows if _number(row[parts["most"]])), None)

    def label(row: list[str]) -> Label | None:
        value = {key: row[position].strip() for key, position in parts.items()}
        number = re.sub(r"^\D+", "", value.get("number", ""))
        sid = value.get("id", "")
        return Label(value.get("name", ""), named=True, moodle=number, sid=sid, email=value.get("email", ""))

    return table.filled(column, label, points, people, most)


MOODLE = {
    "number": "identifier",
    "name": "full name",
    "email": "email address",
    "id": "id number",
    "most": "maximum grade",
}


@dataclass
class _Table:
    """A CSV file as it came."""

    header: list[str]
    rows: list[list[str]]
    delimiter: str
    bom: bool

    @property
    def plain(self) -> list[str]:
        """The header in small letters."""
        return [name.strip().lower() for name in self.header]

    @classmethod
    def read(cls, path: Path) -> _Table:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise UserError(f"{path} is not UTF-8 text; export it as CSV again.") from None
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}.") from None
        plain = text.removeprefix("\ufeff")
        delimiter = max(",;\t", key=plain.split("\n", 1)[0].count)
        header, *rows = list(csv.reader(io.StringIO(plain), delimiter=delimiter)) or [[]]
        rows = [[*row, *[""] * (len(header) - len(row))] for row in rows if row]
        return cls(header, rows, delimiter, plain != text)

    def column(self, path: Path, name: str) -> int:
        """Where a column stands. Raises UserError if there is none, or there are two."""
        if self.plain.count(name) != 1:
            raise UserError(f"{path}, line 1: there is no column {name.title()!r} (or there are two).")
        return self.plain.index(name)

    def filled(
        self,
        column: int,
        label: Callable[[list[str]], Label | None],
        points: Mapping[str, Homework],
        people: Roster,
        most: Fraction | None,
    ) -> Filled:
        """With points in a column; `label` says whom a row names."""
        found = Filled("")
        graded = {student: one for student, one in points.items() if one.has_points}
        for row in self.rows:
            named = label(row)
            match = None if named is None else people.find(named)
            if named is None or match is None:
                continue
            if len(match.students) != 1:
                found.unknown.append(f"{named.key}: {match.doubt}")
            elif match.students[0] in graded:
                row[column] = _written(graded[match.students[0]], most, found)
                found.filled.append(match.students[0])
        found.missing = sorted(graded.keys() - set(found.filled))
        buffer = io.StringIO()
        csv.writer(buffer, delimiter=self.delimiter, lineterminator="\n").writerows([self.header, *self.rows])
        found.text = ("\ufeff" if self.bom else "") + buffer.getvalue()
        return found


def _written(stands: Homework, most: Fraction | None, found: Filled) -> str:
    """Points as the file counts them."""
    value = stands.counted
    if most and stands.most and most != stands.most:
        value, found.scaled = value * most / stands.most, most
    return f"{float(value):.5f}".rstrip("0").rstrip(".")


def _number(text: str) -> Fraction | None:
    try:
        return exact(float(text.strip().replace(",", ".")))
    except ValueError:
        return None
