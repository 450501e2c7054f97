"""A course folder: one file of settings, and a fixed place for everything grading reads and writes.

course.yaml                          settings
students.csv                         the course's students (or `students:` in course.yaml)
release/hw1/, release/hw1.zip        what students get
submitted/<student>/hw1/…            what they handed in (nbgrader's layout)
autograded/<student>/hw1/hw1.ipynb   what formgrader shows
reports/hw1/<student>.json           one report a submission
feedback/hw1/<student>.html          one page a student
gradebook.db, scores.csv             the scores
"""

from __future__ import annotations

import csv
import io
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, field_validator

from autograder.course.roster import STUDENT_ID
from autograder.errors import UserError
from autograder.report import write_atomically
from autograder.yamlfile import StrictModel, load_yaml

FILE = "course.yaml"
STUDENTS = "students.csv"
SQLITE = "sqlite:///"


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


class SandboxSettings(StrictModel):
    """Defaults of `autograder grade`; memory and time are the assignment's."""

    kind: Literal["auto", "docker", "process"] = "auto"
    jobs: int | None = Field(default=None, ge=1, le=256)  # None: as many as there are cores
    gpu: str | None = None  # a device id
    image: str | None = None


class CourseConfig(StrictModel):
    """`course.yaml`."""

    name: str
    assignments: str
    solutions: str
    gradebook: str = f"{SQLITE}gradebook.db"
    salt: int = Field(default=0, ge=0)  # seeds derive from it; secret, and different in every course
    students: list[Person] = Field(default=[])
    due: dict[str, datetime] = Field(default={})  # with a time zone
    sandbox: SandboxSettings = SandboxSettings()

    @field_validator("due")
    @classmethod
    def _zoned(cls, value: dict[str, datetime]) -> dict[str, datetime]:
        for name, when in value.items():
            if when.tzinfo is None:
                raise ValueError(f"should have a time zone for {name}, as in 2025-10-01T23:59:00+03:00")
        return value


@dataclass(frozen=True)
class Course:
    """A loaded course folder."""

    root: Path
    config: CourseConfig
    people: dict[str, Person]  # by id, in the order given

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def roster(self) -> dict[str, str]:
        """id -> full name, as `collect` takes it."""
        return {person.id: person.name for person in self.people.values()}

    @property
    def assignments_dir(self) -> Path:
        return self.root / self.config.assignments

    @property
    def solutions_dir(self) -> Path:
        return self.root / self.config.solutions

    @property
    def gradebook_url(self) -> str:
        """The database; a relative SQLite file lies in the course folder."""
        url = self.config.gradebook
        if url.startswith(SQLITE) and not url.startswith(f"{SQLITE}/"):
            return f"{SQLITE}{self.root.resolve() / url.removeprefix(SQLITE)}"
        return url

    @property
    def release_dir(self) -> Path:
        return self.root / "release"

    @property
    def submitted_dir(self) -> Path:
        return self.root / "submitted"

    @property
    def autograded_dir(self) -> Path:
        return self.root / "autograded"

    @property
    def scores_path(self) -> Path:
        return self.root / "scores.csv"

    def report_path(self, assignment: str, student: str) -> Path:
        return self.root / "reports" / assignment / f"{student}.json"

    def feedback_dir(self, assignment: str) -> Path:
        return self.root / "feedback" / assignment

    def autograded_path(self, assignment: str, student: str) -> Path:
        return self.autograded_dir / student / assignment / f"{assignment}.ipynb"


def load_course(path: Path) -> Course:
    """Load the course folder `path`. Raises UserError naming file, line and key."""
    root = Path(path)
    if not (root / FILE).is_file():
        raise UserError(f"{root} is no course folder: it holds no {FILE}.")
    config = load_yaml(root / FILE, CourseConfig)
    people = list(config.students)
    if (root / STUDENTS).is_file():
        if people:
            raise UserError(f"{root}: students are given both in {FILE} and in {STUDENTS}; keep one of them.")
        people = _read_students(root / STUDENTS)
    by_id: dict[str, Person] = {}
    folded: dict[str, str] = {}
    for person in people:
        other = folded.setdefault(person.id.casefold(), person.id)
        if person.id in by_id or other != person.id:
            raise UserError(f"{root}: the student ids `{other}` and `{person.id}` are the same but for letter case.")
        by_id[person.id] = person
    course = Course(root, config, by_id)
    for key, folder in (("assignments", course.assignments_dir), ("solutions", course.solutions_dir)):
        if not folder.is_dir():
            raise UserError(f"{root / FILE}: `{key}` names {folder}, which is no folder.")
    return course


def init_course(
    path: Path,
    *,
    name: str = "Deep generative models",
    assignments: Path | None = None,
    solutions: Path | None = None,
    students: Iterable[Person] = (),
    settings: Mapping[str, object] | None = None,
) -> Course:
    """Make a course folder.

    Args:
        assignments, solutions: default to the folders of these names in the working directory.
        students: written to students.csv.
        settings: further keys of course.yaml.

    Raises:
        UserError: there is a course already, or the folders are not where they should be.
    """
    root = Path(path)
    if (root / FILE).exists():
        raise UserError(f"{root / FILE} exists already.")
    folders = {"assignments": assignments or Path("assignments"), "solutions": solutions or Path("solutions")}
    for key, folder in folders.items():
        if not folder.is_dir():
            raise UserError(f"There is no folder {folder}; run this where `{key}/` is, or name it with --{key}.")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{root} cannot be made: {error.strerror}.") from None
    values: dict[str, object] = {"name": name}
    values |= {key: os.path.relpath(folder.resolve(), root.resolve()) for key, folder in folders.items()}
    values |= {"gradebook": f"{SQLITE}gradebook.db", "salt": secrets.randbits(48)}
    values |= settings or {}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    people = list(students)
    if people:
        write_atomically(root / STUDENTS, _students_csv(people))
    write_atomically(root / FILE, f"# Settings of the course. Keep this file and the gradebook private.\n{text}")
    return load_course(root)


def _students_csv(people: Iterable[Person]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["id", "name", "email"])
    writer.writerows([person.id, person.name, person.email] for person in people)
    return buffer.getvalue()


def _read_students(path: Path) -> list[Person]:
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
