"""The page of a class: how the points fell, which checks fail and why, what took long, what the machine spoiled.

It is made of briefs, gone through once: a class may be large.
"""

from __future__ import annotations

import math
import statistics
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from markupsafe import Markup

from autograder.feedback import plots, text
from autograder.feedback.brief import OPEN, PART, PASSED, Brief, Outline
from autograder.feedback.html import render
from autograder.feedback.page import page_name
from autograder.feedback.remarks import NOTHING, Remarks
from autograder.report import exact, write_atomically

STAGES = {"sandbox": "Getting a sandbox", "notebook": "Running the notebook", "checks": "Checks", "total": "All of it"}
SLOWEST = 5  # checks listed by their median time
TOGETHER = 500  # reports whose checks are counted together


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


@dataclass(frozen=True, slots=True)
class StudentRow:
    """One line of the class list."""

    student: str
    link: str
    earned: float
    most: float
    failed: int  # checks failed or partly passed
    seconds: float
    remark: str  # what a TA should know before reading further
    known: Known = Known()


@dataclass(frozen=True, slots=True)
class TroubleRow:
    """A submission in which the machine failed."""

    student: str
    link: str
    said: str
    checks: int  # it failed in
    final: bool


def _doubles() -> defaultdict[str, array[float]]:
    return defaultdict(lambda: array("d"))


@dataclass
class Tally:
    """What a class adds up to; each report counts when it is added, and is not kept."""

    students: list[StudentRow] = field(default_factory=list)
    trouble: list[TroubleRow] = field(default_factory=list)
    points: array[float] = field(default_factory=lambda: array("d"))  # of reports that are final
    full: int = 0
    most: float = 0.0
    unprotected: bool = False
    marks: defaultdict[str, array[float]] = field(default_factory=_doubles)  # of final reports, by cell
    worth: dict[str, float] = field(default_factory=dict)  # a cell
    checks: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)  # cell and id -> task and title
    said: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    took: dict[tuple[str, str], array[float]] = field(default_factory=dict)
    stumbles: dict[tuple[str, str], list[tuple[bool, str]]] = field(default_factory=dict)  # open, what it said
    cells: defaultdict[str, array[float]] = field(default_factory=_doubles)  # seconds of each submission, by task
    slowest: defaultdict[str, tuple[float, int, str]] = field(default_factory=lambda: defaultdict(lambda: (0.0, 0, "")))
    stages: defaultdict[str, array[float]] = field(default_factory=_doubles)
    longest: defaultdict[str, tuple[float, str]] = field(default_factory=lambda: defaultdict(lambda: (-1.0, "")))
    titles: dict[str, str] = field(default_factory=dict)
    _waiting: list[Brief] = field(default_factory=list)  # of one outline; their checks are to be counted together

    @classmethod
    def of(cls, briefs: Iterable[Brief], known: Mapping[str, Known] = MappingProxyType({})) -> Tally:
        """Of a whole class."""
        tally = cls()
        for one in briefs:
            tally._add(one, known.get(one.student, Known()))
        tally._count_checks()
        tally.students.sort(key=lambda row: (row.student.casefold(), row.student))
        tally.trouble.sort(key=lambda row: (row.student.casefold(), row.student))
        return tally

    def _add(self, one: Brief, known: Known) -> None:
        total, link = one.stages.get("total", 0.0), page_name(one.student)
        failed = len(one.said) - one.said.count(PASSED) - one.said.count(OPEN)
        marks, earned = _amended(one, known.remarks)
        self.students.append(StudentRow(one.student, link, earned, one.most, failed, total, _remark(one, known), known))
        self.most = max(self.most, one.most)
        self.unprotected |= one.sandbox == "process"
        if one.infrastructure:
            self.trouble.append(TroubleRow(one.student, link, one.trouble, one.said.count(OPEN), one.final))
        else:
            self.points.append(earned)
            self.full += earned == one.most
            for (cell, *_), points in zip(one.outline.cells, marks, strict=True):
                if points is not None:
                    self.marks[cell].append(points)
        if self._waiting and (self._waiting[0].outline is not one.outline or len(self._waiting) == TOGETHER):
            self._count_checks()
        self._waiting.append(one)
        for task, seconds, longest, number in one.tasks:
            self.cells[task].append(seconds)
            if longest >= self.slowest[task][0]:
                self.slowest[task] = max(self.slowest[task], (longest, number, one.student))
        for stage, seconds in one.stages.items():
            self.stages[stage].append(seconds)
            if seconds >= self.longest[stage][0]:
                self.longest[stage] = max(self.longest[stage], (seconds, one.student))

    def _count_checks(self) -> None:
        """A check at a time, over all reports that wait for it: quicker than a report at a time."""
        if not self._waiting:
            return
        outline = self._waiting[0].outline
        self._get_ready(outline)
        said_of = zip(*(one.said for one in self._waiting), strict=True)
        took_by = zip(*(one.took for one in self._waiting), strict=True)
        for (check, cell, _), said, took in zip(outline.checks, said_of, took_by, strict=True):
            counted = self.said[cell, check]
            counted.update(said)
            if counted.pop(OPEN, 0):
                took = tuple(seconds for word, seconds in zip(said, took, strict=True) if word != OPEN)
            self.took[cell, check].extend(took)
        for one in self._waiting:
            for at, words in one.stumbles:
                check, cell, _ = outline.checks[at]
                self.stumbles.setdefault((check, self.checks[cell, check][0]), []).append((one.said[at] == OPEN, words))
        self._waiting.clear()

    def _get_ready(self, outline: Outline) -> None:
        self.titles |= outline.titles
        self.worth = {cell: most for cell, _, most, _ in outline.cells} | self.worth
        for check, cell, title in outline.checks:
            self.checks.setdefault((cell, check), (outline.titles.get(cell, OTHER), title))
            self.said.setdefault((cell, check), Counter())
            self.took.setdefault((cell, check), array("d"))


def _amended(one: Brief, remarks: Remarks) -> tuple[list[float | None], float]:
    """Points of each cell and of all, with those that people gave."""
    if not remarks.given and not remarks.by_hand:
        return one.marks, one.earned
    marks, earned = list(one.marks), exact(one.earned)
    for at, (cell, *_) in enumerate(one.outline.cells):
        points = remarks.points(cell)
        if points is not None and points != marks[at]:
            earned += exact(points) - exact(marks[at] or 0.0)
            marks[at] = points
    return marks, float(earned)


def _remark(one: Brief, known: Known) -> str:
    remarks = []
    if one.infrastructure:
        remarks.append("the machine was too busy" if one.final else "machine trouble, to be graded again")
    if one.tampered:
        remarks.append("an answer was not accepted: look at it")
    if one.broken:
        remarks.append(f"{text.count(one.broken, 'cell')} did not run")
    remarks += known.remarks.lines(staff=True)
    return " ".join(one if one.endswith((".", "?", "!")) else f"{one};" for one in remarks).removesuffix(";")


OTHER = "Other checks"
REASON_WORDS = {PART: text.WORDS["partial"], **text.REASONS}


def write_class_page(
    briefs: Iterable[Brief],
    rejected: Mapping[str, str],
    title: str,
    path: Path,
    known: Mapping[str, Known] = MappingProxyType({}),
    strangers: Collection[str] = (),
) -> None:
    """Write the page of a class whole or not at all.

    Args:
        rejected: student or file name -> the sentence that says why it could not be graded.
        known: names, and what humans gave.
        strangers: of the rejected, names that mean no student of the course.
    """
    write_atomically(path, class_page(briefs, rejected, title, known, strangers))


def class_page(
    briefs: Iterable[Brief],
    rejected: Mapping[str, str],
    title: str,
    known: Mapping[str, Known] = MappingProxyType({}),
    strangers: Collection[str] = (),
) -> str:
    """The page as a string. Students are listed by name, however the briefs come; their pages are linked."""
    tally = Tally.of(briefs, known)
    checks = check_rows(tally)
    return render(
        "class.html",
        title=title,
        students=tally.students,
        by_hand=any(one.theory is not None for one in known.values()),
        final=len(tally.points),
        full=tally.full,
        most=tally.most,
        mean=statistics.fmean(tally.points) if tally.points else None,
        median=statistics.median(tally.points) if tally.points else None,
        histogram=histogram(tally.points, tally.most),
        tasks=task_rows(tally),
        checks=[row for row in checks if row.failed],
        clean=sum(not row.failed for row in checks),
        stumbles=stumble_rows(tally),
        cells=cell_rows(tally)[:SLOWEST],
        slowest=sorted(checks, key=lambda row: -row.median_seconds)[:SLOWEST],
        reasons=[r for r in REASON_WORDS if any(r == reason for row in checks for reason, _ in row.reasons)],
        reason_words=REASON_WORDS,
        stages=stage_rows(tally),
        total=math.fsum(tally.stages.get("total", ())),
        trouble=tally.trouble,
        rejected=sorted(rejected.items()),
        strangers=strangers,
        unprotected=tally.unprotected,
    )


def task_rows(tally: Tally) -> list[TaskRow]:
    """Mean points of every task, in the order of the homework; what waits for a human is left out."""
    return [
        TaskRow(tally.titles[cell], statistics.fmean(earned), tally.worth[cell]) for cell, earned in tally.marks.items()
    ]


def check_rows(tally: Tally) -> list[CheckRow]:
    """Every check with how often it failed, most often first."""
    rows = []
    for key, (task, title) in tally.checks.items():
        said, took = tally.said[key], tally.took[key]
        reasons = {reason: count for reason, count in said.items() if reason != PASSED}
        ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        parts = [(reason, float(count)) for reason, count in ordered]
        seconds = statistics.median(took) if took else 0.0
        rows.append(CheckRow(title, task, said.total(), sum(reasons.values()), parts, seconds))
    return sorted(rows, key=lambda row: -row.rate)


def stumble_rows(tally: Tally) -> list[StumbleRow]:
    """Every check that stumbled, what keeps most submissions open first."""
    rows = []
    for (name, task), found in tally.stumbles.items():
        lines = min((said.splitlines()[0] for _, said in found if said), default="")
        rows.append(StumbleRow(name, task, len(found), sum(is_open for is_open, _ in found), lines))
    return sorted(rows, key=lambda row: (-row.open, -row.submissions))


def cell_rows(tally: Tally) -> list[CellRow]:
    """The tasks by the time their cells took the class, with the slowest cell of each.

    A cell is known by its task: its number differs between notebooks in which cells were added.
    """
    rows = []
    for task, seconds in tally.cells.items():
        title = tally.titles.get(task, task) or "After the last task"
        rows.append(CellRow(title, math.fsum(seconds), statistics.median(seconds), *tally.slowest[task]))
    return sorted(rows, key=lambda row: (-row.total, row.title))


def stage_rows(tally: Tally) -> list[StageRow]:
    """Median and longest time of every stage."""
    found = {stage: name for stage, name in STAGES.items() if stage in tally.stages}
    return [
        StageRow(name, statistics.median(tally.stages[stage]), *tally.longest[stage]) for stage, name in found.items()
    ]


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
