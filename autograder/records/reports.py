"""The reports that lie in a course folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from autograder.course.course import Course
from autograder.errors import UserError
from autograder.homework.assignment import Assignment, load_assignment
from autograder.report import Report


def final_report(path: Path) -> Report | None:
    """The report in a file, unless there is none or the machine failed for it, and may not the next time."""
    try:
        report = Report.load(path)
    except (OSError, ValidationError):
        return None
    return report if report.final else None


def load_reports(course: Course, name: str, students: Sequence[str] = ()) -> list[Report]:
    """Reports of a homework, sorted by student. Raises UserError if one is asked for that is not there."""
    paths = [course.report_path(name, s) for s in students] or sorted(course.reports_dir(name).glob("*.json"))
    reports = []
    for path in paths:
        try:
            reports.append(Report.load(path))
        except OSError:
            raise UserError(f"there is no report {path}; grade the submission first.") from None
        except ValidationError:
            raise UserError(f"{path} is not a report of this version; grade the submission again.") from None
    return reports


def with_others(course: Course, name: str, reports: Iterable[Report]) -> list[Report]:
    """These reports, and those on disk of everybody else."""
    ours = {report.student: report for report in reports}
    for path in course.reports_dir(name).glob("*.json"):
        with suppress(OSError, ValidationError):
            report = Report.load(path)
            ours.setdefault(report.student, report)
    return [ours[student] for student in sorted(ours)]


def graded_assignments(course: Course) -> list[Assignment]:
    """Every homework of which something was graded. Raises UserError if one of them is broken."""
    names = sorted(path.name for path in course.root.glob("reports/*") if path.is_dir())
    return [load_assignment(course.files(name)) for name in names]
