"""Everything that one student handed in, where the best of it counts.

What counts lies under `submitted/`, as everywhere. Where a student handed in more than once, all of it lies in
`attempts/<homework>/<student>/<hash>/` as well: the files in `handed_in/`, how it came in `attempt.json`, and once it
was graded `report.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from autograder.course.course import Course
from autograder.homework.assignment import Assignment
from autograder.records.reports import final_report
from autograder.records.state import moment
from autograder.report import Report, write_atomically
from autograder.submission import Stored, Submission
from autograder.submissions.storing import store_at

FOLDER, FILES, ABOUT, REPORT = "attempts", "handed_in", "attempt.json", "report.json"


@dataclass(frozen=True)
class Attempt:
    """One of several hand-ins of a student.

    Args:
        place: its folder.
        way: how it came, as fields of `State`.
    """

    student: str
    place: Path
    sha256: str
    notebook: str
    files: tuple[str, ...]
    submitted: str | None = None
    late: bool = False
    path: str = ""
    way: Mapping[str, Any] = field(default_factory=dict)

    @property
    def when(self) -> datetime | None:
        """When it was handed in; None if nothing tells."""
        return moment(self.submitted)

    @property
    def report(self) -> Report | None:
        """What came of it; None if it has to be graded yet, or again."""
        return final_report(self.place / REPORT)

    def put_report(self, report: Report) -> None:
        """Write down what came of it."""
        write_atomically(self.place / REPORT, report.text)

    def stored(self, course: Course) -> Stored:
        """For whoever grades it."""
        root, folder = course.root.resolve(), self.place.resolve() / FILES
        lies = {"": self.notebook, **{name: name for name in self.files}}
        return Stored(
            student=self.student,
            sha256=self.sha256,
            root=root,
            lies={name: str((folder / file).relative_to(root)) for name, file in lies.items()},
            path=self.path,
            notes=tuple(self.way.get("notes", ())),
            submitted=self.when,
            clock=str(self.way.get("clock", "")),
            late=self.late,
            marked_late=bool(self.way.get("marked_late")),
        )


def keep(course: Course, assignment: Assignment, submission: Submission, way: Mapping[str, Any]) -> Attempt:
    """Store a hand-in, whole or not at all; what came of the same one before stays."""
    place = course.root / FOLDER / assignment.name / submission.student / submission.sha256[:16]
    notebook = assignment.template_path.name
    if not (place / ABOUT).is_file():
        store_at(submission, notebook, place / FILES)
    about = {
        "sha256": submission.sha256,
        "notebook": notebook,
        "files": sorted(submission.files),
        "submitted": None if submission.submitted is None else submission.submitted.isoformat(),
        "late": submission.late,
        "path": submission.path,
        "way": dict(way),
    }
    write_atomically(place / ABOUT, json.dumps(about, ensure_ascii=False, indent=1) + "\n")
    return _read(place / ABOUT)


def attempts_of(course: Course, homework: str, student: str) -> list[Attempt]:
    """What a student handed in, the oldest first; nothing where it was never more than one."""
    folder = course.root / FOLDER / homework / student
    found = [_read(path) for path in folder.glob(f"*/{ABOUT}")]
    return sorted(found, key=lambda one: (one.submitted or "", str(one.way.get("came", "")), one.path))


def students_with_several(course: Course, homework: str) -> list[str]:
    """Students who handed in more than once."""
    return sorted(path.name for path in (course.root / FOLDER / homework).glob("*/"))


def _read(path: Path) -> Attempt:
    about = json.loads(path.read_bytes())
    return Attempt(path.parent.parent.name, path.parent, **(about | {"files": tuple(about["files"])}))
