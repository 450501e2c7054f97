"""What is made of one submission beside its report: the notebook a human grades from, and the student's page.

It is made where submissions are graded, in a judge process: a notebook may be large, and the process that serves a
whole class reads none. What is made of the same content is not made again: a stamp beside the report says of which.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from autograder import feedback, homework
from autograder.course.course import Course
from autograder.feedback import page_name, student_page
from autograder.homework import ipynb
from autograder.homework.assignment import Assignment
from autograder.homework.restore import restore
from autograder.judge.grade import Job, assignment_of, grade
from autograder.records.autograded import changed_answers, for_humans
from autograder.report import Model, Report, write_atomically
from autograder.submission import Submission

BLANK, GIVEN = "", "given"


class Stamp(Model):
    """What lies in the course folder was made of this content."""

    content: str  # hash
    answered: dict[str, bool]  # manual cells: whether there is an answer
    notebook: str  # hash of the submitted file
    notes: list[str]  # on what was odd about it


@dataclass(frozen=True)
class Rendered:
    """A report and all that is made of it, ready to be written."""

    report: Report
    stamp: Stamp
    changed: frozenset[str]  # manual cells whose answer is not the one a human has seen
    notebook: str = field(repr=False)  # for humans
    page: str = field(repr=False)

    @property
    def answers(self) -> dict[str, str]:
        """For the gradebook: what is blank, and what is not."""
        return answers_of(self.stamp)


def grade_and_render(course: Course, job: Job) -> Rendered:
    """Grade a submission and make all that is made of it; done in a judge process."""
    return rendered(course, assignment_of(job.homework), grade(job), job.submission)


def render_again(course: Course, job: Job) -> Rendered:
    """Make it from the report that lies in the course folder."""
    assignment = assignment_of(job.homework)
    report = Report.load(course.report_path(assignment.name, job.submission.student))
    return rendered(course, assignment, report, job.submission)


def rendered(course: Course, assignment: Assignment, report: Report, submission: Submission) -> Rendered:
    """All that is made of one report."""
    notebook, notes = ipynb.parse(submission.notebook_bytes)
    answers = restore(notebook, assignment.template).answers
    stamp = Stamp(
        content=content_of(assignment, report.model_dump_json(indent=1).encode()),
        answered={cell: bool(text.strip()) for cell, text in answers.items()},
        notebook=digest_of(submission.notebook_bytes),
        notes=notes,
    )
    changed = changed_answers(course.autograded_path(assignment.name, report.student), answers)
    shown = ipynb.to_text(for_humans(notebook, assignment.template, answers, report))
    hidden_open = assignment.config.feedback == "everything"
    return Rendered(report, stamp, changed, shown, student_page(report, assignment.title, hidden_open=hidden_open))


def up_to_date(course: Course, assignment: Assignment, student: str) -> Stamp | None:
    """The stamp, if page and notebook are there and are those of the report that is there."""
    stamp = read_stamp(course, assignment.name, student)
    made = (
        course.feedback_dir(assignment.name) / page_name(student),
        course.autograded_path(assignment.name, student),
    )
    if stamp is None or not all(path.is_file() for path in made):
        return None
    report = course.report_path(assignment.name, student).read_bytes()
    return stamp if stamp.content == content_of(assignment, report) else None


def answers_of(stamp: Stamp) -> dict[str, str]:
    """Which manual cells are blank, as the gradebook asks for it."""
    return {cell: GIVEN if answered else BLANK for cell, answered in stamp.answered.items()}


def stamp_path(course: Course, name: str, student: str) -> Path:
    """Where a student's stamp lies."""
    return course.report_path(name, student).with_suffix(".stamp")


def write_stamp(course: Course, name: str, student: str, stamp: Stamp) -> None:
    """Write a stamp, after all that it speaks of."""
    write_atomically(stamp_path(course, name, student), stamp.model_dump_json(indent=1))


def read_stamp(course: Course, name: str, student: str) -> Stamp | None:
    """A student's stamp; None if there is none, or it cannot be read."""
    try:
        return Stamp.model_validate_json(stamp_path(course, name, student).read_bytes())
    except (OSError, ValidationError):
        return None


def known_notebooks(course: Course, name: str) -> dict[str, list[str]]:
    """Notes on every notebook that was read before, by the hash of its file."""
    students = (path.stem for path in course.reports_dir(name).glob("*.stamp"))
    stamps = (read_stamp(course, name, student) for student in students)
    return {stamp.notebook: stamp.notes for stamp in stamps if stamp is not None}


def content_of(assignment: Assignment, report: bytes) -> str:
    """One hash over all that page and notebook are made of, the code that makes them included."""
    settings = f"{assignment.title}\n{assignment.config.feedback}".encode()
    parts = (report, settings, digest_of(assignment.template_path.read_bytes()).encode(), _makers())
    return digest_of(b"\0".join(parts))


def digest_of(data: bytes) -> str:
    """A hash."""
    return sha256(data).hexdigest()


@cache
def _makers() -> bytes:
    return b"".join(sha256(path.read_bytes()).digest() for path in sorted(_sources()))


def _sources() -> Iterable[Path]:
    for package in (*feedback.__path__, *homework.__path__):
        yield from (path for path in Path(package).rglob("*") if path.suffix in (".py", ".html", ".css"))
    yield from Path(__file__).parent.glob("*.py")
