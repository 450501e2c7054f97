"""One gradebook, open: each submission is written whole or not at all.

Ids are random, contents are not: writing the same report again changes nothing, and a run that was killed and repeated
ends in the same contents as one that was not (`dump` shows them without ids).

A human's score is never touched. A cell graded by hand needs a look again when what it was given for has changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from autograder.homework.assignment import Assignment
from autograder.records.gradebook.cells import complete, ensure_cells, notebook_of
from autograder.records.gradebook.database import opened, transaction
from autograder.records.gradebook.decisions import decide
from autograder.records.gradebook.lateness import Lateness, put_late
from autograder.records.gradebook.scores import StudentScore, comments_in, scores_in
from autograder.report import Report
from autograder.submissions.person import Person


class Book:
    """An open gradebook.

    Args:
        url: of the database, as SQLAlchemy takes it.

    Raises:
        UserError: it cannot be opened, is no gradebook, or stays locked.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._api = opened(url)

    def __enter__(self) -> Book:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._api.close()

    def ensure_assignment(self, assignment: Assignment) -> None:
        """Make the gradebook's cells those of the assignment. Grades of cells that stay are kept.

        Raises:
            UserError: a cell that is gone has a human's score.
        """
        with self.transaction() as api:
            ensure_cells(api, assignment)

    def write(
        self,
        report: Report,
        assignment: Assignment,
        answers: Mapping[str, str],
        *,
        person: Person | None = None,
        submitted: datetime | None = None,
        changed: frozenset[str] = frozenset(),
    ) -> None:
        """Write one report.

        Args:
            answers: grade_id of each manual cell -> what the student wrote; a blank one is worth 0 at once.
            person: name and e-mail of the student, if known.
            submitted: when it was handed in.
            changed: manual cells whose answer differs from the one the human saw.
        """
        with self.transaction() as api:
            _ensure_student(api, report.student, person)
            when = {} if submitted is None else {"timestamp": submitted.astimezone(UTC).replace(tzinfo=None)}
            with api.db.no_autoflush:  # nbgrader links rows before it adds them
                submission = api.update_or_create_submission(assignment.name, report.student, **when)
            notebook = notebook_of(assignment)
            for part in submission.notebooks:
                complete(api, part.notebook, part)
            for cell in report.cells:
                grade = api.find_grade(cell.cell, notebook, assignment.name, report.student)
                if cell.manual:
                    blank = not answers.get(cell.cell, "").strip()
                    _set(grade, 0.0 if blank else None, review=cell.cell in changed)
                    comment = api.find_comment(cell.cell, notebook, assignment.name, report.student)
                    comment.auto_comment = "No response." if blank else None
                elif cell.earned is not None:  # else the machine failed: the grade stays as it was
                    _set(grade, cell.earned)

    def add_students(self, people: Mapping[str, Person]) -> None:
        """Enter the course's students, also those who never hand in; whoever is there as they are is left alone."""
        from nbgrader.api import Student
        from sqlalchemy import select

        with self.transaction() as api:
            rows = api.db.execute(select(Student.id, Student.first_name, Student.last_name, Student.email))
            known = {student: (first, last, email) for student, first, last, email in rows}
            for student, person in people.items():
                if known.get(student) != tuple(_names(person).values()):
                    _ensure_student(api, student, person)

    def read_scores(self, homework: str, cells: Mapping[str, float]) -> list[StudentScore]:
        """Every submission of a homework, sorted by student.

        Args:
            cells: their points, in the order in which they are given.
        """
        with self.transaction() as api:
            return scores_in(api, homework, cells)

    def comments(self, homework: str) -> dict[str, dict[str, str]]:
        """Student -> cell -> what a human wrote there."""
        with self.transaction() as api:
            return comments_in(api, homework)

    def set_manual(self, assignment: Assignment, student: str, cell: str, points: float, comment: str = "") -> None:
        """Enter a human's score, and a comment if there is one, as formgrader does."""
        with self.transaction() as api:
            grade = api.find_grade(cell, notebook_of(assignment), assignment.name, student)
            grade.manual_score = points
            grade.needs_manual_grade = False
            if comment:
                api.find_comment(cell, notebook_of(assignment), assignment.name, student).manual_comment = comment

    def decide(
        self, homework: str, given: Mapping[str, Mapping[str, float]], withdrawn: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Enter overrides: student -> cell -> points that a person gave. What is as it should be is left alone.

        Args:
            withdrawn: those that do not hold any more; a score that another hand gave since stays.
        """
        with self.transaction() as api:
            decide(api, homework, given, withdrawn)

    def put_late(self, homework: str, due: datetime | None, late: Mapping[str, Lateness]) -> None:
        """Enter the deadline and what being late costs where nbgrader keeps them; what is there is left alone."""
        with self.transaction() as api:
            put_late(api, homework, due, late)

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """nbgrader's API; what is written with it in the block is there at its end, or nothing is."""
        with transaction(self._api, self.url):
            yield self._api


def _ensure_student(api: Any, student: str, person: Person | None) -> None:
    api.update_or_create_student(student, **({} if person is None else _names(person)))


def _set(grade: Any, score: float | None, *, review: bool = False) -> None:
    """A new automatic score. A human's stays, and is to be looked at again only if what it was for has changed."""
    changed = grade.auto_score != score or review
    grade.auto_score = score
    if grade.manual_score is None:
        grade.needs_manual_grade = score is None
    elif changed:
        grade.needs_manual_grade = True


def _names(person: Person) -> dict[str, str | None]:
    first, _, last = person.name.rpartition(" ")
    return {"first_name": first or None, "last_name": last or None, "email": person.email or None}
