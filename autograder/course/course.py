"""A course folder: one file of settings, and a fixed place for everything grading reads and writes.

course.yaml                          settings
students.csv                         the course's students (or `students:` in course.yaml)
release/hw1/, release/hw1.zip        what students get
submitted/<student>/hw1/…            what they handed in (nbgrader's layout)
attempts/hw1/<student>/…             all of whoever handed in more than once, where the best of it counts
collected/hw1/<student>.json         how it came: under which name, when, by what it was known whose it is
autograded/<student>/hw1/hw1.ipynb   what formgrader shows
reports/hw1/<student>.json           one report a submission
feedback/hw1/<student>.html          one page a student
reports/hw1/proposed/<student>.json  a newer report of the same submission, until it is published
gradebook.db, scores.csv             the scores
state.db                             what came of each hand-in; made anew if deleted
log.jsonl                            overrides and marks that people gave, one line each, never changed
extensions.yaml                      who has more time (written by people)
exam.yaml, exam/                     questions of an oral exam; what was drawn
grades.csv, feedback/course/         grades, and a page a student and one of the class for the whole course
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from autograder.course.late import Extensions, load_extensions
from autograder.course.people import STUDENTS, read_students, students_csv
from autograder.course.policy import Policy, load_policy, shipped
from autograder.course.settings import SQLITE, CourseConfig
from autograder.errors import UserError
from autograder.homework.files import HomeworkFiles
from autograder.report import write_atomically
from autograder.submissions.person import Person
from autograder.yamlfile import load_yaml

FILE = "course.yaml"
SALT_BITS, LEAST_SALT_BITS = 192, 128


@dataclass(frozen=True)
class Course:
    """A loaded course folder."""

    root: Path
    config: CourseConfig
    people: dict[str, Person]  # by id, in the order given

    @property
    def name(self) -> str:
        return self.config.name

    @cached_property
    def roster(self) -> dict[str, str]:
        """id -> full name."""
        return {person.id: person.name for person in self.people.values()}

    def files(self, homework: str, profile: str | None = None) -> HomeworkFiles:
        """Where the files of a homework lie. Raises UserError if that can be no homework's name."""
        datasets = tuple((name, self.root / path) for name, path in sorted(self.config.datasets.items()))
        return HomeworkFiles(homework, self.assignments_dir, self.solutions_dir, profile, datasets)

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
    def policy(self) -> Policy:
        """How points become a grade. Raises UserError if course.yaml names no policy, or one that is none."""
        if not self.config.policy:
            raise UserError(f"{self.root / FILE} names no `policy`; write `policy: {shipped()[0]}`, or another one.")
        return load_policy(self.root, self.config.policy, self.config.components)

    @cached_property
    def extensions(self) -> Extensions:
        """Who has more time for what. Raises UserError naming file, line and key."""
        return load_extensions(self.root, self.people, self.config.due)

    @property
    def log_path(self) -> Path:
        return self.root / "log.jsonl"

    @property
    def grades_path(self) -> Path:
        return self.root / "grades.csv"

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

    def reports_dir(self, assignment: str) -> Path:
        return self.root / "reports" / assignment

    def report_path(self, assignment: str, student: str) -> Path:
        return self.reports_dir(assignment) / f"{student}.json"

    def proposed_dir(self, assignment: str) -> Path:
        """Newer reports, whose marks do not count until they are published."""
        return self.reports_dir(assignment) / "proposed"

    def proposed_path(self, assignment: str, student: str) -> Path:
        return self.proposed_dir(assignment) / f"{student}.json"

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
    _look_at_salt(root / FILE, config.salt)
    people = list(config.students)
    if (root / STUDENTS).is_file():
        if people:
            raise UserError(f"{root}: students are given both in {FILE} and in {STUDENTS}; keep one of them.")
        people = read_students(root / STUDENTS)
    by_id: dict[str, Person] = {}
    folded: dict[str, str] = {}
    for person in people:
        other = folded.setdefault(person.id.casefold(), person.id)
        if person.id in by_id or other != person.id:
            if other == person.id:
                raise UserError(f"{root}: the student `{other}` is listed twice; keep one of the two.")
            raise UserError(f"{root}: the student ids `{other}` and `{person.id}` are the same but for letter case.")
        by_id[person.id] = person
    course = Course(root, config, by_id)
    for key, folder in (("assignments", course.assignments_dir), ("solutions", course.solutions_dir)):
        if not folder.is_dir():
            raise UserError(f"{root / FILE}: `{key}` names {folder}, which is no folder.")
    return course


def _look_at_salt(path: Path, salt: int) -> None:
    """Raise UserError if the number could be found by trying: whoever has it knows what every check will ask."""
    if salt.bit_length() >= LEAST_SALT_BITS:
        return
    fresh = secrets.randbits(SALT_BITS) | 1 << (SALT_BITS - 1)
    raise UserError(
        f"{path}: the salt has {salt.bit_length()} bits, few enough to be found by trying; at least {LEAST_SALT_BITS} "
        f"are needed. Write `salt: {fresh}` there, a number drawn just now; marks given so far stay as they are."
    )


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
    values |= {"gradebook": f"{SQLITE}gradebook.db", "salt": secrets.randbits(SALT_BITS)}
    values |= settings or {}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    people = list(students)
    if people:
        write_atomically(root / STUDENTS, students_csv(people))
    write_atomically(root / FILE, f"# Settings of the course. Keep this file and the gradebook private.\n{text}")
    return load_course(root)
