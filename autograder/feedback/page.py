"""The feedback page of one student: one HTML file that needs nothing else and runs nothing."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from autograder.feedback import text
from autograder.feedback.html import render
from autograder.feedback.pictures import Picture, picture
from autograder.feedback.remarks import NOTHING, ByHand, Given, Remarks, amended, taken_off, theory
from autograder.feedback.visible import visible
from autograder.homework.settings import POINTS, FeedbackRule
from autograder.report import CellResult, CellRun, CheckResult, Report, exact, write_atomically

Audience = Literal["student", "ta"]

RUN_WORDS = {
    "ok": "ran",
    "error": "stopped with an error",
    "skipped": "not run",
    "crash": "crashed",
    "timeout": "ran out of time",
    "memory": "ran out of memory",
    "starved": "was not run in time by the machine",
}
START_HERE = 3  # tasks named at the top: the first that lost points, for a notebook builds on what is above
OUTPUT = 1500  # characters of a cell's output that are shown, its end


def write_student_page(
    report: Report, assignment_title: str, path: Path, audience: Audience = "student", *, rule: FeedbackRule = "guarded"
) -> None:
    """Write the page of one submission whole or not at all, as `student_page` makes it."""
    write_atomically(path, student_page(report, assignment_title, audience, rule=rule))


def page_name(student: str) -> str:
    """The file name of a student's page: safe on every file system and in a link, different for different students."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", student.lower()).strip("-.")[:60]
    if plain and plain == student and plain not in {"index", "class"}:
        return f"{plain}.html"
    digest = hashlib.sha256(student.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain or 'student'}-{digest}.html"


@dataclass(frozen=True)
class CheckView:
    """A check as the page shows it."""

    check: CheckResult
    pictures: list[Picture]
    place: str  # "cell 12, line 3" of `where`
    code: str  # the line itself

    @property
    def icon(self) -> str:
        """The mark beside the word."""
        return text.ICONS[self.check.outcome]

    @property
    def word(self) -> str:
        """The word beside the mark."""
        return text.WORDS[self.check.outcome]

    @property
    def why(self) -> str:
        """What stands beneath the word."""
        return text.why(self.check)

    @property
    def earned(self) -> Fraction:
        """Points it earned."""
        return text.earned(self.check)


@dataclass(frozen=True)
class Task:
    """A graded cell with its checks."""

    anchor: str
    title: str
    max_points: float
    manual: bool
    earned: float | None
    checks: list[CheckView] = field(default_factory=list)
    given: Given | None = None  # by a person, in the place of what the checks say
    by_hand: ByHand | None = None  # in formgrader

    @property
    def open(self) -> bool:
        """True if the machine failed on it, so that its points are not final."""
        return any(view.check.outcome == "infrastructure" for view in self.checks)

    @property
    def lost(self) -> list[CheckView]:
        """Checks that lost points, what costs most first."""
        found = [view for view in self.checks if view.check.outcome in ("failed", "partial")]
        return sorted(found, key=lambda view: exact(view.check.points) * (exact(view.check.fraction) - 1))

    @property
    def bar(self) -> list[tuple[str, float]]:
        """The segments of its points bar: earned and lost part of every check."""
        parts: list[tuple[str, float]] = []
        for view in self.checks:
            worth, got = view.check.points, float(view.earned)
            lost = "infrastructure" if view.check.outcome == "infrastructure" else "lost"
            parts += [("passed", got), (lost, worth - got)]
        return parts


@dataclass(frozen=True)
class RunView:
    """A cell of the notebook that did not simply run."""

    run: CellRun
    word: str
    output: str


def student_page(
    report: Report,
    assignment_title: str,
    audience: Audience = "student",
    *,
    rule: FeedbackRule = "guarded",
    remarks: Remarks = NOTHING,
) -> str:
    """The page as a string: the same report gives the same page.

    Args:
        audience: "ta" adds what only a TA may read.
        rule: what of it a student may read.
        remarks: what people and the course's rules add to it.
    """
    whole = amended(report, remarks)
    report = visible(whole, rule, remarks) if audience == "student" else whole
    tasks = [
        replace(task, given=remarks.given.get(name), by_hand=remarks.by_hand.get(name)) for task, name in named(report)
    ]
    start = [(task.anchor, task.lost[0]) for task in tasks if task.lost][:START_HERE]
    return render(
        "student.html",
        title=assignment_title,
        report=report,
        ta=audience == "ta",
        opened=rule == "everything" or audience == "ta",
        only_points=rule == POINTS and audience == "student",
        tasks=tasks,
        summary=summary(report) if report.checks else "",
        theory=theory(report),
        waiting=sum((exact(c.max_points) for c in report.cells if c.manual and c.earned is None), Fraction(0)),
        start=start if sum(len(task.lost) for task in tasks) > 1 else [],
        runs=[
            RunView(run, RUN_WORDS[run.status], run.stdout[-OUTPUT:] if run.status not in ("ok", "skipped") else "")
            for run in report.runs
            if run.status not in ("ok", "skipped") or run.notes
        ],
        broken=sum(run.status not in ("ok", "skipped") for run in report.runs),
        not_your_fault=text.not_your_fault,
        remarks=remarks,
        taken_off=taken_off(exact(report.earned) + theory(report)[0], remarks),
    )


def rejected_page(student: str, assignment_title: str, sentence: str) -> str:
    """The page of somebody who handed in what cannot be graded: why, and what to do."""
    return render("rejected.html", title=assignment_title, student=student, sentence=sentence)


def summary(report: Report) -> str:
    """ "8 of 11 checks passed, 1 partly, 2 failed." """
    number = {outcome: sum(c.outcome == outcome for c in report.checks) for outcome in text.WORDS}
    others = [f"{number[o]} {text.WORDS[o]}" for o in ("partial", "failed", "infrastructure") if number[o]]
    passed = f"{number['passed']} of {text.count(len(report.checks), 'check')} passed"
    return ", ".join([passed, *others]) + "."


def named(report: Report) -> list[tuple[Task, str]]:
    """The tasks, each with its cell; "" for checks of no known cell."""
    return list(zip_longest(tasks_of(report), [cell.cell for cell in report.cells], fillvalue=""))  # type: ignore[arg-type]


def tasks_of(report: Report) -> list[Task]:
    """The graded cells in their order, each with its checks; checks of no known cell come last."""
    known = {cell.cell for cell in report.cells}
    tasks = [_task(f"task-{i}", cell, report) for i, cell in enumerate(report.cells, 1)]
    strays = [check for check in report.checks if check.cell not in known]
    if strays:
        worth = sum((exact(check.points) for check in strays), Fraction(0))
        got = sum((text.earned(check) for check in strays), Fraction(0))
        tasks.append(Task("other", "Other checks", float(worth), False, float(got), [_view(c) for c in strays]))
    return tasks


def _task(anchor: str, cell: CellResult, report: Report) -> Task:
    checks = [_view(check) for check in report.checks if check.cell == cell.cell]
    return Task(anchor, cell.title or cell.cell, cell.max_points, cell.manual, cell.earned, checks)


def _view(check: CheckResult) -> CheckView:
    place, _, code = (check.where or "").partition(": ")
    return CheckView(check, [picture(figure) for figure in check.figures], place if code else "", code or place)
