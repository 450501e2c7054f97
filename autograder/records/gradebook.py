"""Scores in nbgrader's gradebook, written through its own API, each submission whole or not at all.

nbgrader's API commits after every step. Here its session joins a transaction that is opened around all steps of one
submission, so its commits become savepoints and a kill at any moment leaves the old grades or the new ones. Ids are
random, contents are not: writing the same report again changes nothing, and a run that was killed and repeated ends in
the same contents as one that was not (`dump` shows them without ids).

A human's score is never touched. A cell graded by hand needs a look again when what it was given for has changed.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import uuid4

from autograder.course.settings import SQLITE
from autograder.errors import UserError
from autograder.homework import ipynb
from autograder.homework.assignment import Assignment
from autograder.report import Report
from autograder.submissions.person import Person

WAIT_SECONDS = 30.0  # for another program that holds the database


@dataclass(frozen=True, slots=True)
class CellScore:
    """One graded cell of one student."""

    points: float  # what counts: the human's score if there is one, plus extra credit
    max_points: float
    automatic: float | None
    manual: float | None
    needs_manual: bool


@dataclass(frozen=True, slots=True)
class StudentScore:
    """One student's submission as the gradebook has it."""

    student: str
    name: str
    cells: dict[str, CellScore]  # grade_id -> score, in the assignment's order


@dataclass(frozen=True)
class Lateness:
    """What nbgrader's book holds of a hand-in that was late, or had more time."""

    penalty: float  # points
    extension: timedelta | None = None


class Book:
    """An open gradebook.

    Args:
        url: of the database, as SQLAlchemy takes it.

    Raises:
        UserError: it cannot be opened, is no gradebook, or stays locked.
    """

    def __init__(self, url: str) -> None:
        from nbgrader.api import Gradebook
        from sqlalchemy import event

        self.url = url
        with self._sentences():
            if url.startswith(SQLITE):
                _create_sqlite(Path(url.removeprefix(SQLITE)))
            if not url.startswith("sqlite"):
                _create_on_server(url)
                self._api = Gradebook(url)
            else:
                self._api = Gradebook(f"{url}{'&' if '?' in url else '?'}timeout={WAIT_SECONDS}")
                self._api.engine.dispose()
                event.listen(self._api.engine, "connect", _configure)
                event.listen(self._api.engine, "begin", _begin)
            self._refuse_another_version()

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
        with self._transaction() as api:
            api.update_or_create_assignment(assignment.name)
            notebook = api.update_or_create_notebook(_notebook(assignment), assignment.name)
            wanted = {kind: _wanted(assignment, kind) for kind in ("grade", "solution", "source")}
            self._remove_cells(api, notebook, wanted)
            have = {"grade": notebook.grade_cells, "solution": notebook.solution_cells, "source": notebook.source_cells}
            for kind, cells in wanted.items():
                known = {cell.name: cell for cell in have[kind]}
                update = getattr(api, f"update_or_create_{kind}_cell")
                for name, values in cells.items():
                    if name not in known or any(getattr(known[name], key) != value for key, value in values.items()):
                        update(name, _notebook(assignment), assignment.name, **values)
            _complete_all(api, notebook)

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
        with self._transaction() as api:
            self._ensure_student(api, report.student, person)
            when = {} if submitted is None else {"timestamp": submitted.astimezone(UTC).replace(tzinfo=None)}
            with api.db.no_autoflush:  # nbgrader links rows before it adds them
                submission = api.update_or_create_submission(assignment.name, report.student, **when)
            notebook = _notebook(assignment)
            for part in submission.notebooks:
                _complete(api, part.notebook, part)
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

        with self._transaction() as api:
            rows = api.db.execute(select(Student.id, Student.first_name, Student.last_name, Student.email))
            known = {student: (first, last, email) for student, first, last, email in rows}
            for student, person in people.items():
                if known.get(student) != tuple(_names(person).values()):
                    self._ensure_student(api, student, person)

    def read_scores(self, homework: str, cells: Mapping[str, float]) -> list[StudentScore]:
        """Every submission of a homework, sorted by student.

        Args:
            cells: their points, in the order in which they are given.
        """
        found: dict[str, dict[str, CellScore]] = {}
        names: dict[str, str] = {}
        same: dict[tuple[Any, ...], CellScore] = {}  # in a large class many cells have the same scores
        for student, first, last, cell, *scored in self._grades(homework):
            if student not in found:
                names[student], found[student] = f"{first or ''} {last or ''}".strip(), {}
            key = (cell, *scored)
            found[student][cell] = same.get(key) or same.setdefault(key, _cell_score(cells.get(cell, 0.0), *scored))
        return [
            StudentScore(
                student, names[student], {cell: found[student][cell] for cell in cells if cell in found[student]}
            )
            for student in sorted(found)
        ]

    def comments(self, homework: str) -> dict[str, dict[str, str]]:
        """Student -> cell -> what a human wrote there."""
        from nbgrader.api import Assignment as Row
        from nbgrader.api import BaseCell, Comment, SubmittedAssignment, SubmittedNotebook
        from sqlalchemy import select

        query = (
            select(SubmittedAssignment.student_id, BaseCell.name, Comment.manual_comment)
            .select_from(Comment.__table__)
            .join(BaseCell.__table__, BaseCell.id == Comment.cell_id)
            .join(SubmittedNotebook.__table__, SubmittedNotebook.id == Comment.notebook_id)
            .join(SubmittedAssignment.__table__, SubmittedAssignment.id == SubmittedNotebook.assignment_id)
            .join(Row.__table__, Row.id == SubmittedAssignment.assignment_id)
            .where(Row.name == homework, Comment.manual_comment.is_not(None))
        )
        found: dict[str, dict[str, str]] = {}
        with self._transaction() as api:
            for student, cell, comment in api.db.execute(query):
                if comment.strip():
                    found.setdefault(student, {})[cell] = comment
        return found

    def _grades(self, homework: str) -> Iterator[Any]:
        from nbgrader.api import Assignment as Row
        from nbgrader.api import BaseCell, Grade, Student, SubmittedAssignment, SubmittedNotebook
        from sqlalchemy import select

        who = (Student.id, Student.first_name, Student.last_name)
        points = (Grade.auto_score, Grade.manual_score, Grade.extra_credit, Grade.needs_manual_grade)
        query = (
            select(*who, BaseCell.name, *points)
            .select_from(Grade.__table__)
            .join(BaseCell.__table__, BaseCell.id == Grade.cell_id)
            .join(SubmittedNotebook.__table__, SubmittedNotebook.id == Grade.notebook_id)
            .join(SubmittedAssignment.__table__, SubmittedAssignment.id == SubmittedNotebook.assignment_id)
            .join(Student.__table__, Student.id == SubmittedAssignment.student_id)
            .join(Row.__table__, Row.id == SubmittedAssignment.assignment_id)
            .where(Row.name == homework)
        )
        with self._transaction() as api:
            yield from api.db.execute(query)

    def set_manual(self, assignment: Assignment, student: str, cell: str, points: float, comment: str = "") -> None:
        """Enter a human's score, and a comment if there is one, as formgrader does."""
        with self._transaction() as api:
            grade = api.find_grade(cell, _notebook(assignment), assignment.name, student)
            grade.manual_score = points
            grade.needs_manual_grade = False
            if comment:
                api.find_comment(cell, _notebook(assignment), assignment.name, student).manual_comment = comment

    def decide(
        self, homework: str, given: Mapping[str, Mapping[str, float]], withdrawn: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Enter overrides: student -> cell -> points that a person gave. What is as it should be is left alone.

        Args:
            withdrawn: those that do not hold any more; a score that another hand gave since stays.
        """
        with self._transaction() as api:
            for student, cells in given.items():
                for cell, points in cells.items():
                    grade = self._grade(api, homework, student, cell, make=True)
                    if grade is not None and (grade.manual_score != points or grade.needs_manual_grade):
                        grade.manual_score, grade.needs_manual_grade = points, False
            for student, cells in withdrawn.items():
                for cell, points in cells.items():
                    grade = self._grade(api, homework, student, cell, make=False)
                    if grade is not None and grade.manual_score == points:
                        grade.manual_score, grade.needs_manual_grade = None, grade.auto_score is None

    @staticmethod
    def _grade(api: Any, homework: str, student: str, cell: str, *, make: bool) -> Any:
        """The grade of a cell; None if there is none, or the homework has no such cell any more."""
        from nbgrader.api import MissingEntry

        try:
            notebook = api.find_assignment(homework).notebooks[0]
            if make:
                api.update_or_create_student(student)
                with api.db.no_autoflush:  # nbgrader links rows before it adds them
                    submitted = api.update_or_create_submission(homework, student)
                for part in submitted.notebooks:
                    _complete(api, part.notebook, part)
            return api.find_grade(cell, notebook.name, homework, student)
        except (MissingEntry, IndexError):
            return None

    def put_late(self, homework: str, due: datetime | None, late: Mapping[str, Lateness]) -> None:
        """Enter the deadline and what being late costs where nbgrader keeps them; what is there is left alone."""
        from nbgrader.api import SubmittedAssignment, SubmittedNotebook
        from sqlalchemy import select, update

        handed_in, notebooks = SubmittedAssignment.__table__.c, SubmittedNotebook.__table__.c
        query = (
            select(handed_in.id, handed_in.student_id, handed_in.extension)
            .add_columns(notebooks.id, notebooks.late_submission_penalty)
            .outerjoin_from(handed_in.id.table, notebooks.id.table, notebooks.assignment_id == handed_in.id)
        )
        with self._transaction() as api:
            assignment = api.find_assignment(homework)
            naive = None if due is None else due.astimezone(UTC).replace(tzinfo=None)
            if assignment.duedate != naive:
                assignment.duedate = naive
            for submission, student, extension, notebook, penalty in api.db.execute(
                query.where(handed_in.assignment_id == assignment.id)
            ).all():
                mine = late.get(student, Lateness(0.0))
                if extension != mine.extension:
                    row = update(SubmittedAssignment).where(SubmittedAssignment.id == submission)
                    api.db.execute(row.values(extension=mine.extension))
                if notebook is not None and (penalty or 0.0) != mine.penalty:
                    row = update(SubmittedNotebook).where(SubmittedNotebook.id == notebook)
                    api.db.execute(row.values(late_submission_penalty=mine.penalty))

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """nbgrader's API inside one transaction: its commits are savepoints until the end of the block."""
        with self._sentences(), self._api.engine.connect() as connection, connection.begin():
            self._api.db.remove()
            self._api.db.configure(bind=connection, join_transaction_mode="create_savepoint")
            try:
                yield self._api
                self._api.db.flush()
                self._api.db.commit()
            finally:
                self._api.db.remove()

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        from sqlalchemy.exc import SQLAlchemyError

        place = shown_url(self.url)
        try:
            yield
        except ModuleNotFoundError as error:
            raise UserError(
                f"The gradebook {place} needs the Python package `{error.name}`, which is not installed. For "
                "PostgreSQL write `postgresql+psycopg://…` in course.yaml and install `dgm-autograder[postgres]`."
            ) from error
        except (SQLAlchemyError, sqlite3.Error) as error:
            text = _without_password(str(getattr(error, "orig", None) or error).split("\n")[0], self.url)
            if "locked" in text or "busy" in text:
                raise UserError(
                    f"The gradebook {place} is in use by another program and stayed locked for {WAIT_SECONDS:g} s; "
                    "close it (formgrader, a database browser, another grader) and run the command again."
                ) from error
            raise UserError(f"The gradebook {place} cannot be used: {text.rstrip('.')}.") from None
        except OSError as error:
            raise UserError(f"The gradebook {place} cannot be used: {error.strerror or error}.") from error

    def _refuse_another_version(self) -> None:
        """Raise UserError if another version of nbgrader made it: its tables may lack what ours has."""
        from sqlalchemy import text

        with self._transaction() as api:
            found = api.db.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if found != _head():
            self.close()
            raise UserError(
                f"The gradebook {self.url.removeprefix(SQLITE)} was made by another version of nbgrader; run "
                "`nbgrader db upgrade` in the course folder, which keeps a copy of it."
            )

    @staticmethod
    def _ensure_student(api: Any, student: str, person: Person | None) -> None:
        api.update_or_create_student(student, **({} if person is None else _names(person)))

    @staticmethod
    def _remove_cells(api: Any, notebook: Any, wanted: Mapping[str, Mapping[str, object]]) -> None:
        have = {"grade": notebook.grade_cells, "solution": notebook.solution_cells, "source": notebook.source_cells}
        for kind, cells in have.items():
            for cell in cells:
                if cell.name in wanted[kind]:
                    continue
                for grade in list(cell.grades or []) if kind == "grade" else []:
                    if grade.manual_score is not None:
                        raise UserError(
                            f"The gradebook has a human's score for `{cell.name}` of {grade.student.id}, but the "
                            f"assignment has no such cell any more; put the cell back or remove the score."
                        )
                    api.db.delete(grade)
                for comment in list(cell.comments or []) if kind == "solution" else []:
                    api.db.delete(comment)
                api.db.delete(cell)
        api.db.flush()


def dump(url: str) -> dict[str, Any]:
    """The contents of a gradebook without its random ids, to compare two of them."""
    with Book(url) as book, book._transaction() as api:
        return {
            "students": {s.id: [s.first_name, s.last_name, s.email] for s in api.students},
            "assignments": {
                a.name: {
                    "cells": {c.name: [c.max_score, c.cell_type] for n in a.notebooks for c in n.grade_cells},
                    "solutions": sorted(c.name for n in a.notebooks for c in n.solution_cells),
                    "sources": {c.name: [c.locked, c.source, c.checksum] for n in a.notebooks for c in n.source_cells},
                    "submissions": {s.student.id: _dump_submission(s) for s in a.submissions},
                }
                for a in api.assignments
            },
        }


def _dump_submission(submission: Any) -> dict[str, Any]:
    return {
        "timestamp": str(submission.timestamp),
        "late": [str(submission.extension), *(n.late_submission_penalty for n in submission.notebooks)],
        "grades": {
            g.name: [g.auto_score, g.manual_score, g.extra_credit, g.needs_manual_grade]
            for n in submission.notebooks
            for g in n.grades
        },
        "comments": {c.name: [c.auto_comment, c.manual_comment] for n in submission.notebooks for c in n.comments},
    }


def _configure(connection: Any, record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins the transactions, see `_begin`


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # wait for the lock here, not half-way


def _cell_score(
    most: float, automatic: float | None, manual: float | None, extra: float | None, waits: bool | None
) -> CellScore:
    points = manual if manual is not None else automatic or 0.0
    return CellScore(float(points + (extra or 0.0)), most, automatic, manual, bool(waits))


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


def _notebook(assignment: Assignment) -> str:
    return assignment.template_path.stem


def _wanted(assignment: Assignment, kind: str) -> dict[str, dict[str, object]]:
    """Cells of one kind as nbgrader's SaveCells would record them."""
    cells: dict[str, dict[str, object]] = {}
    for cell in assignment.template.cells:
        meta, name = ipynb.nbgrader_metadata(cell), ipynb.grade_id(cell)
        if name is None:
            continue
        if kind == "grade" and meta.get("grade"):
            cells[name] = {"max_score": float(meta["points"]), "cell_type": cell.cell_type}
        elif kind == "solution" and meta.get("solution"):
            cells[name] = {}
        elif kind == "source":
            locked = not meta.get("solution") and bool(meta.get("grade") or meta.get("locked"))
            checksum = meta.get("checksum")
            cells[name] = {
                "cell_type": cell.cell_type, "locked": locked, "source": cell.source, "checksum": checksum
            }  # fmt: skip
    return cells


def _complete(api: Any, notebook: Any, submitted: Any) -> None:
    """Give a submission a place for every cell the assignment has by now."""
    from nbgrader.api import Comment, Grade

    graded = {grade.cell_id for grade in submitted.grades}
    commented = {comment.cell_id for comment in submitted.comments}
    for cell in notebook.grade_cells:
        if cell.id not in graded:
            api.db.add(Grade(cell_id=cell.id, notebook=submitted))
    for cell in notebook.solution_cells:
        if cell.id not in commented:
            api.db.add(Comment(cell_id=cell.id, notebook=submitted))
    api.db.flush()


def _complete_all(api: Any, notebook: Any) -> None:
    """The same for every submission, without looking at those that have all places."""
    from nbgrader.api import BaseCell, Comment, Grade, GradeCell, SolutionCell, SubmittedNotebook
    from sqlalchemy import and_, insert, select

    api.db.flush()
    for kind, place in ((GradeCell, Grade), (SolutionCell, Comment)):
        cells = [cell for (cell,) in api.db.execute(select(kind.id).where(BaseCell.notebook_id == notebook.id))]
        for cell in cells:
            here = and_(place.notebook_id == SubmittedNotebook.id, place.cell_id == cell)
            lacking = select(SubmittedNotebook.id).outerjoin(place, here)
            lacking = lacking.where(SubmittedNotebook.notebook_id == notebook.id, place.id.is_(None))
            rows = [{"id": uuid4().hex, "notebook_id": found, "cell_id": cell} for (found,) in api.db.execute(lacking)]
            if rows:
                api.db.execute(insert(place), rows)


def shown_url(url: str) -> str:
    """Where a gradebook is, for people: never with the password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if url.startswith(SQLITE):
        return url.removeprefix(SQLITE)
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "of course.yaml"


def _without_password(text: str, url: str) -> str:
    """A driver's words with every form of the password taken out."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        password = make_url(url).password
    except (ArgumentError, ValueError):
        return "the URL cannot be read"
    for form in {password, quote(password), quote_plus(password)} if password else ():
        text = text.replace(form, "***")
    return text


@cache
def _head() -> str:
    """The version of a gradebook's tables that this nbgrader makes."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from nbgrader.dbutil import _temp_alembic_ini

    with _temp_alembic_ini(f"{SQLITE}/") as settings:  # nbgrader itself starts the program `alembic`, a second slower
        return str(ScriptDirectory.from_config(Config(settings)).get_current_head())


def _make_tables(connection: Any) -> None:
    """The tables of an empty gradebook, and of which schema they are."""
    from nbgrader.api import Base

    Base.metadata.create_all(bind=connection)
    connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{_head()}')")


def _create_on_server(url: str) -> None:
    """Make the tables of an empty database in one transaction; two that do so at a time wait for each other."""
    from sqlalchemy import create_engine, inspect, text

    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(20210926)"))
            if not inspect(connection).has_table("alembic_version"):
                _make_tables(connection)
    finally:
        engine.dispose()


def _create_sqlite(path: Path) -> None:
    """Make an empty gradebook beside its place and move it there, so that none is ever half made.

    An empty file in its place, as a full disk leaves one, is no gradebook.
    """
    if path.exists() and path.stat().st_size:
        return
    from sqlalchemy import create_engine

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        fresh = Path(folder) / path.name
        engine = create_engine(f"{SQLITE}{fresh}")
        with engine.begin() as connection:
            _make_tables(connection)
        engine.dispose()
        if path.exists():
            fresh.replace(path)
            return
        try:
            path.hardlink_to(fresh)
        except FileExistsError:
            return  # another grader was faster
