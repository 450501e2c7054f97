"""The reports that lie in a course folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from autograder.course.course import Course
from autograder.errors import UserError
from autograder.report import Report


def final_report(path: Path, *, final: bool = True) -> Report | None:
    """The report in a file; None if there is none.

    Args:
        final: none as well where the machine failed, and may not the next time.
    """
    try:
        report = Report.load(path)
    except (OSError, ValidationError):
        return None
    return report if report.final or not final else None


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
