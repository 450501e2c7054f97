"""What is made of one submission beside its report: the notebook a human grades from, and the student's page.

It is made where submissions are graded, in a judge process of this machine or another: a notebook may be large, and
the process that serves a whole class reads none. What the course adds to a page travels with the job, so that nothing
of its folder is read there. What is made of the same content is not made again: the record says of which it was made.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from pathlib import Path

from autograder import feedback, homework
from autograder.course.course import Course
from autograder.feedback import NOTHING, Remarks, page_name, student_page
from autograder.homework import ipynb
from autograder.homework.assignment import Assignment
from autograder.homework.restore import restore
from autograder.judge.job import Job, assignment_of
from autograder.records.autograded import digests, for_humans
from autograder.records.state import State, digest_of
from autograder.report import Report
from autograder.submission import Submission

BLANK, GIVEN = "", "given"


@dataclass(frozen=True)
class Rendered:
    """A report and all that is made of it, ready to be written."""

    report: Report
    text: str = field(repr=False)  # of the report
    content: str  # hash over all that page and notebook are made of
    remarked: str  # hash over what people and rules added to the page
    answered: dict[str, bool]  # manual cells: whether there is an answer
    answers: dict[str, str]  # manual cells: a hash of the answer
    notebook: str = field(repr=False)  # for humans
    page: str = field(repr=False)


@dataclass(frozen=True)
class Order(Job):
    """A submission to grade and to render.

    Args:
        remarks: what the course adds to the page, as far as it is known before anybody reads the answers.
        cost: the seconds it is expected to take.
        folders: where homework lies on this machine, and where it does for whoever reads the report.
    """

    remarks: Remarks = NOTHING
    cost: float = 0.0
    folders: tuple[tuple[str, str], ...] = ()


def grade_and_render(order: Order) -> Rendered:
    """Grade a submission and make all that is made of it: a pure function, done in a judge process."""
    from autograder.judge.grade import grade  # and torch, which the process that serves all never needs

    submission = order.submission.read()
    report = _at_home(grade(replace(order, submission=submission)), order.folders)
    return rendered(assignment_of(order.homework), report, submission, order.remarks)


def _at_home(report: Report, folders: Iterable[tuple[str, str]]) -> Report:
    """A report whose tracebacks name the files that its reader has."""
    checks = report.checks
    for here, there in folders:
        checks = [
            check.model_copy(update={"detail": check.detail.replace(here, there)}) if check.detail else check
            for check in checks
        ]
    return report.model_copy(update={"checks": checks})


def render_again(course: Course, order: Order) -> Rendered:
    """Make it from the report that lies in the course folder."""
    assignment, submission = assignment_of(order.homework), order.submission.read()
    report = Report.load(course.report_path(assignment.name, submission.student))
    return rendered(assignment, report, submission, order.remarks)


def render_proposed(course: Course, order: Order) -> Rendered:
    """Make it from the report that is to take the place of the one that counts."""
    assignment, submission = assignment_of(order.homework), order.submission.read()
    report = Report.load(course.proposed_path(assignment.name, submission.student))
    return rendered(assignment, report, submission, order.remarks)


def rendered(assignment: Assignment, report: Report, submission: Submission, remarks: Remarks = NOTHING) -> Rendered:
    """All that is made of one report."""
    notebook, _ = ipynb.parse(submission.notebook_bytes)
    answers = restore(notebook, assignment.template).answers
    text = report.text
    answered = {cell: bool(answer.strip()) for cell, answer in answers.items()}
    remarks = remarks.with_blanks(answered)
    return Rendered(
        report=report,
        text=text,
        content=content_of(assignment, digest_of(text.encode())),
        remarked=remarked_of(assignment, remarks),
        answered=answered,
        answers=digests(answers),
        notebook=ipynb.to_text(for_humans(notebook, assignment.template, answers, report)),
        page=student_page(report, assignment.title, rule=assignment.config.feedback, remarks=remarks),
    )


def up_to_date(course: Course, assignment: Assignment, state: State, remarks: Remarks) -> bool:
    """True if page and notebook are there and are those of the report that is there, and of what is added to it."""
    made = [course.feedback_dir(assignment.name) / page_name(state.who)]
    if not state.infrastructure:
        made.append(course.autograded_path(assignment.name, state.who))
    current = state.content == content_of(assignment, state.report or "")
    current = current and state.remarked == remarked_of(assignment, remarks)
    return current and all(path.is_file() for path in made)


def remarked_of(assignment: Assignment, remarks: Remarks) -> str:
    """One hash over what people and rules make of a page: what they add to it, and what of it may be read."""
    return digest_of(f"{assignment.config.feedback}\n{remarks}".encode())


def answers_of(answered: dict[str, bool]) -> dict[str, str]:
    """Which manual cells are blank, as the gradebook asks for it."""
    return {cell: GIVEN if given else BLANK for cell, given in answered.items()}


def content_of(assignment: Assignment, report: str) -> str:
    """One hash over all that page and notebook are made of, the code that makes them included.

    Args:
        report: its hash.
    """
    settings = f"{assignment.title}\n{assignment.config.feedback}\n{report}".encode()
    return digest_of(b"\0".join((settings, assignment.template_sha256.encode(), makers())))


@cache
def makers() -> bytes:
    """What tells the code that makes pages and notebooks from another."""
    return b"".join(sha256(path.read_bytes()).digest() for path in sorted(_sources()))


def _sources() -> Iterable[Path]:
    for package in (*feedback.__path__, *homework.__path__):
        yield from (path for path in Path(package).rglob("*") if path.suffix in (".py", ".html", ".css"))
    yield from Path(__file__).parent.glob("*.py")
