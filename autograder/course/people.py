"""The students of a course, and the file that lists them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from pydantic import field_validator

from autograder.errors import UserError
from autograder.submissions.roster import STUDENT_ID
from autograder.yamlfile import StrictModel

STUDENTS = "students.csv"


class Person(StrictModel):
    """A student of the course."""

    id: str
    name: str = ""
    email: str = ""

    @field_validator("id")
    @classmethod
    def _part_of_a_file_name(cls, value: str) -> str:
        if not STUDENT_ID.fullmatch(value):
            raise ValueError("should be letters, digits and any of . _ @ + -")
        return value


def students_csv(people: Iterable[Person]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["id", "name", "email"])
    writer.writerows([person.id, person.name, person.email] for person in people)
    return buffer.getvalue()


def read_students(path: Path) -> list[Person]:
    """Columns `id`, and optionally `name` (or `first_name` and `last_name`) and `email`, separated by commas or `;`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as CSV UTF-8.") from None
    header = text.split("\n", 1)[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=";" if header.count(";") > header.count(",") else ",")
    columns = {name.strip().lower(): name for name in reader.fieldnames or []}
    if "id" not in columns:
        raise UserError(f"{path}, line 1: there is no column `id` (found: {', '.join(columns) or 'nothing'}).")
    people = []
    for row in reader:
        value = {key: (row[name] or "").strip() for key, name in columns.items()}
        if not any(value.values()):
            continue
        name = value.get("name") or f"{value.get('first_name', '')} {value.get('last_name', '')}".strip()
        if not STUDENT_ID.fullmatch(value["id"]):
            raise UserError(f"{path}, line {reader.line_num}: {value['id']!r} cannot be a student's id.")
        people.append(Person(id=value["id"], name=name, email=value.get("email", "")))
    return people
