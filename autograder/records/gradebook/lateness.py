"""What being late costs, where nbgrader keeps it: the deadline, more time of one's own, a penalty in points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any


@dataclass(frozen=True)
class Lateness:
    """What nbgrader's book holds of a hand-in that was late, or had more time."""

    penalty: float  # points
    extension: timedelta | None = None


def put_late(api: Any, homework: str, due: datetime | None, late: Mapping[str, Lateness]) -> None:
    """Enter the deadline and what being late costs; what is there is left alone."""
    from nbgrader.api import SubmittedAssignment, SubmittedNotebook
    from sqlalchemy import and_, select, update

    handed_in, notebooks = SubmittedAssignment.__table__.c, SubmittedNotebook.__table__.c
    assignment = api.find_assignment(homework)
    named = [notebook.id for notebook in assignment.notebooks]  # nbgrader's index begins with them
    its = and_(notebooks.notebook_id.in_(named), notebooks.assignment_id == handed_in.id)
    query = (
        select(handed_in.id, handed_in.student_id, handed_in.extension)
        .add_columns(notebooks.id, notebooks.late_submission_penalty)
        .outerjoin_from(handed_in.id.table, notebooks.id.table, its)
    )
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
