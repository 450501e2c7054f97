"""Plain tables of a homework: a row for every check, all reports, rows for a mail merge."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime

from autograder.course.course import Course
from autograder.course.grades import Homework
from autograder.feedback import page_name, text
from autograder.records.record import Record
from autograder.records.reports import load_reports
from autograder.records.scores import safe
from autograder.records.standing import standings
from autograder.report import Report

CHECKS = ("student", "cell", "check", "title", "public", "outcome", "reason", "points", "earned", "message")
MAIL = ("student", "name", "email", "homework", "points", "max", "status", "page")


def counted(course: Course, record: Record) -> dict[str, Homework]:
    """Student -> where they stand in the record's homework, what being late costs taken off."""
    found = standings(course, record, datetime.now(UTC))
    return {one.student: one.homeworks[record.homework] for one in found if record.homework in one.homeworks}


def reports_of(course: Course, record: Record) -> Iterator[Report]:
    """The reports that count, one at a time."""
    for state in list(record.states()):
        if state.report is not None:
            yield from load_reports(course, record.homework, [state.who])


def checks_csv(course: Course, record: Record) -> str:
    """A row for every check of every student."""
    rows: list[list[object]] = []
    for report in reports_of(course, record):
        for check in report.checks:
            worth = f"{float(text.earned(check)):g}"
            words = (check.id, check.title, "yes" if check.public else "no", check.outcome, check.reason or "")
            message = text.line(check.message, 1000)
            rows.append([report.student, check.cell, *words, f"{check.points:g}", worth, message])
    return _csv(CHECKS, rows)


def reports_jsonl(course: Course, record: Record) -> str:
    """All reports, each a line of JSON."""
    return "".join(f"{report.model_dump_json()}\n" for report in reports_of(course, record))


def mail_csv(course: Course, record: Record) -> str:
    """A row for everybody of the course: whom to write, and what."""
    states = {state.who: state for state in record.states()}
    rows: list[list[object]] = []
    for student, stands in counted(course, record).items():
        person, state = course.people.get(student), states.get(student)
        email, name = ("", "") if person is None else (person.email, person.name)
        page = page_name(student) if state is not None and state.page else ""
        points = f"{float(stands.counted):g}" if stands.has_points else ""
        rows.append([student, name, email, record.homework, points, f"{float(stands.most):g}", stands.words, page])
    return _csv(MAIL, rows)


def _csv(header: tuple[str, ...], rows: list[list[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([safe(str(cell)) for cell in row] for row in rows)
    return buffer.getvalue()
