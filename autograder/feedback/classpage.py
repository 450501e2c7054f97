"""The page of a class: how the points fell, which checks fail and why, what took long, what the machine spoiled."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from markupsafe import Markup

from autograder.feedback import plots, text
from autograder.feedback.html import render
from autograder.feedback.page import page_name
from autograder.feedback.remarks import NOTHING, Remarks, amended
from autograder.report import CheckResult, Report, write_atomically

STAGES = {"sandbox": "Getting a sandbox", "notebook": "Running the notebook", "checks": "Checks", "total": "All of it"}
SLOWEST = 5  # checks listed by their median time


@dataclass(frozen=True)
class TaskRow:
    """How the class did on one task; only submissions whose points are final count."""

    title: str
    mean: float
    max_points: float


@dataclass(frozen=True)
class CheckRow:
    """How often one check failed, by reason; checks that the machine spoiled do not count."""

    title: str
    task: str
    graded: int
    failed: int  # partial ones included
    reasons: list[tuple[str, float]]  # most frequent first; "part" stands for partial credit
    median_seconds: float

    @property
    def rate(self) -> float:
        """The share that did not pass."""
        return self.failed / self.graded if self.graded else 0.0

    @property
    def words(self) -> str:
        """The reasons in words: "5 not right yet, 2 error"."""
        return ", ".join(f"{n:.0f} {REASON_WORDS[reason]}" for reason, n in self.reasons)


@dataclass(frozen=True)
class StumbleRow:
    """A check that broke, by its author's doing or by what it was given."""

    check: str
    task: str
    submissions: int
    open: int  # of them, those that are not graded because of it
    said: str  # one of its errors


@dataclass(frozen=True)
class CellRow:
    """Time that the cells of one task took the class, in seconds."""

    title: str
    total: float
    median: float  # of a submission
    longest: float  # of one cell
    number: int  # of that cell in its notebook
    student: str  # whose it was


@dataclass(frozen=True)
class StageRow:
    """Time of one stage over the class, in seconds."""

    name: str
    median: float
    longest: float
    student: str  # whose it was


@dataclass(frozen=True)
class Theory:
    """What is graded by hand of one submission."""

    earned: float  # so far
    most: float
    waiting: int  # cells that no human has looked at yet, or that changed since

    @property
    def words(self) -> str:
        """ "2.5 / 4", "waits", "1 / 4, 1 cell waits" """
        given = f"{text.points(self.earned)} / {text.points(self.most)}"
        if not self.waiting:
            return given
        return f"{given}, {text.count(self.waiting, 'cell')} to read" if self.earned else "to be read"


@dataclass(frozen=True)
class Known:
    """What the course knows of a student beside the report."""

    name: str = ""
    theory: Theory | None = None  # None where nothing is graded by hand
    remarks: Remarks = NOTHING


@dataclass(frozen=True)
class StudentRow:
    """One line of the class list."""

    student: str
    link: str
    report: Report
    known: Known = Known()

    @property
    def failed(self) -> int:
        """Checks failed or partly passed."""
        return sum(check.outcome in ("failed", "partial") for check in self.report.checks)

    @property
    def remark(self) -> str:
        """What a TA should know before reading further."""
        remarks = []
        if self.report.infrastructure:
            remarks.append("the machine was too busy" if self.report.final else "machine trouble, to be graded again")
        if any(check.reason == "tampered" for check in self.report.checks):
            remarks.append("an answer was not accepted: look at it")
        broken = sum(run.status not in ("ok", "skipped") for run in self.report.runs)
        if broken:
            remarks.append(f"{text.count(broken, 'cell')} did not run")
        remarks += self.known.remarks.lines(staff=True)
        return "; ".join(remarks)


REASON_WORDS = {"part": "partly", **text.REASONS}


def write_class_page(
    reports: Iterable[Report],
    rejected: Mapping[str, str],
    title: str,
    path: Path,
    known: Mapping[str, Known] = MappingProxyType({}),
) -> None:
    """Write the page of a class whole or not at all.

    Args:
        rejected: student or file name -> the sentence that says why it could not be graded.
        known: names, and what humans gave.
    """
    write_atomically(path, class_page(reports, rejected, title, known))


def class_page(
    reports: Iterable[Report],
    rejected: Mapping[str, str],
    title: str,
    known: Mapping[str, Known] = MappingProxyType({}),
) -> str:
    """The page as a string. The order of the reports does not matter; students' pages are linked by `page_name`."""
    everyone = [amended(report, known.get(report.student, Known()).remarks) for report in reports]
    everyone.sort(key=lambda report: (report.student.casefold(), report.student))
    final = [report for report in everyone if not report.infrastructure]
    points = [report.earned for report in final]
    checks = check_rows(everyone)
    return render(
        "class.html",
        title=title,
        students=[StudentRow(r.student, page_name(r.student), r, known.get(r.student, Known())) for r in everyone],
        by_hand=any(one.theory is not None for one in known.values()),
        final=final,
        full=sum(report.earned == report.automatic_points for report in final),
        most=max((report.automatic_points for report in everyone), default=0.0),
        mean=statistics.fmean(points) if points else None,
        median=statistics.median(points) if points else None,
        histogram=histogram(points, max((report.automatic_points for report in everyone), default=0.0)),
        tasks=task_rows(final),
        checks=[row for row in checks if row.failed],
        clean=sum(not row.failed for row in checks),
        stumbles=stumble_rows(everyone),
        cells=cell_rows(everyone)[:SLOWEST],
        slowest=sorted(checks, key=lambda row: -row.median_seconds)[:SLOWEST],
        reasons=[r for r in REASON_WORDS if any(r == reason for row in checks for reason, _ in row.reasons)],
        reason_words=REASON_WORDS,
        stages=stage_rows(everyone),
        total=sum(report.timings.get("total", 0.0) for report in everyone),
        trouble=[StudentRow(r.student, page_name(r.student), r) for r in everyone if r.infrastructure],
        rejected=sorted(rejected.items()),
        unprotected=any(report.environment.sandbox == "process" for report in everyone),
    )


def task_rows(reports: Sequence[Report]) -> list[TaskRow]:
    """Mean points of every task, in the order of the homework; what waits for a human is left out."""
    earned: dict[str, list[float]] = {}
    known: dict[str, tuple[str, float]] = {}
    for report in reports:
        for cell in report.cells:
            if cell.earned is not None:
                known.setdefault(cell.cell, (cell.title or cell.cell, cell.max_points))
                earned.setdefault(cell.cell, []).append(cell.earned)
    return [TaskRow(title, statistics.fmean(earned[cell]), most) for cell, (title, most) in known.items()]


def check_rows(reports: Sequence[Report]) -> list[CheckRow]:
    """Every check with how often it failed, most often first."""
    found: dict[tuple[str, str], list[tuple[str, float]]] = {}  # (cell, id) -> outcome or reason, seconds
    known: dict[tuple[str, str], tuple[str, str]] = {}
    for report in reports:
        titles = {cell.cell: cell.title or cell.cell for cell in report.cells}
        for check in report.checks:
            key = (check.cell, check.id)
            known.setdefault(key, (check.title, titles.get(check.cell, "Other checks")))
            outcomes = found.setdefault(key, [])
            if check.outcome != "infrastructure":
                named = {"passed": "passed", "partial": "part"}.get(check.outcome, check.reason or "wrong")
                outcomes.append((named, check.seconds))
    rows = []
    for key, (title, task) in known.items():
        reasons = Counter(named for named, _ in found[key] if named != "passed")
        ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        seconds = statistics.median([s for _, s in found[key]]) if found[key] else 0.0
        parts = [(reason, float(n)) for reason, n in ordered]
        rows.append(CheckRow(title, task, len(found[key]), reasons.total(), parts, seconds))
    return sorted(rows, key=lambda row: -row.rate)


def stumble_rows(reports: Sequence[Report]) -> list[StumbleRow]:
    """Every check that stumbled, what keeps most submissions open first."""
    found: dict[tuple[str, str], list[CheckResult]] = {}
    for report in reports:
        titles = {cell.cell: cell.title or cell.cell for cell in report.cells}
        for check in report.checks:
            if check.stumbled:
                found.setdefault((check.id, titles.get(check.cell, "Other checks")), []).append(check)
    rows = [
        StumbleRow(
            name, task, len(checks), sum(check.outcome == "infrastructure" for check in checks),
            next((check.detail.splitlines()[0] for check in checks if check.detail), ""),
        )
        for (name, task), checks in found.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: (-row.open, -row.submissions))


def cell_rows(reports: Sequence[Report]) -> list[CellRow]:
    """The tasks by the time their cells took the class, with the slowest cell of each.

    A cell is known by its task: its number differs between notebooks in which cells were added.
    """
    taken: dict[str, dict[str, float]] = {}  # task -> student -> seconds
    longest: dict[str, tuple[float, int, str]] = {}
    titles: dict[str, str] = {}
    for report in reports:
        titles |= {cell.cell: cell.title or cell.cell for cell in report.cells}
        for run in report.runs:
            task = run.task or ""
            mine = taken.setdefault(task, {})
            mine[report.student] = mine.get(report.student, 0.0) + run.seconds
            longest[task] = max(longest.get(task, (0.0, 0, "")), (run.seconds, run.index, report.student))
    rows = []
    for task, mine in taken.items():
        title, seconds = titles.get(task, task) or "After the last task", list(mine.values())
        rows.append(CellRow(title, sum(seconds), statistics.median(seconds), *longest[task]))
    return sorted(rows, key=lambda row: (-row.total, row.title))


def stage_rows(reports: Sequence[Report]) -> list[StageRow]:
    """Median and longest time of every stage."""
    rows = []
    for stage, name in STAGES.items():
        took = [(report.timings[stage], report.student) for report in reports if stage in report.timings]
        if took:
            longest, student = max(took)
            rows.append(StageRow(name, statistics.median([seconds for seconds, _ in took]), longest, student))
    return rows


def histogram(points: Sequence[float], most: float) -> Markup:
    """How many submissions earned how much; the last column holds full points too."""
    if not points or most <= 0:
        return Markup("")
    step = next((s for s in (0.5, 1.0, 2.0, 5.0, 10.0) if most / s <= 16), most / 10)
    columns = math.ceil(most / step)
    counts = [0] * columns
    for earned in points:
        counts[min(max(int(earned / step), 0), columns - 1)] += 1
    return plots.histogram(counts, step, most) + plots.histogram(counts, step, most, narrow=True)
