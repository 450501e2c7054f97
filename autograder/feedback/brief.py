"""What a class is told of one report: a few hundred bytes, where the report has hundreds of thousands."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields

from autograder.report import CellRun, CheckResult, Report

SAID = 2000  # characters of what a check said that stumbled
PART = "part"  # in the place of a reason: partial credit
PASSED, OPEN = "passed", "infrastructure"


@dataclass(frozen=True)
class Outline:
    """What the reports of a homework have in common.

    Args:
        cells: name, title, most points, and whether a human grades it.
        checks: id, cell, title.
    """

    cells: tuple[tuple[str, str, float, bool], ...]
    checks: tuple[tuple[str, str, str], ...]

    @property
    def titles(self) -> dict[str, str]:
        """Cell -> what it is called."""
        return {cell: title or cell for cell, title, _, _ in self.cells}


@dataclass(frozen=True, slots=True)
class Brief:
    """One report, as a class page and a summary need it.

    Args:
        most: automatic points that could be earned.
        final: grading again in the same place would only repeat it.
        trouble: what the first check said that the machine failed in; "" if it failed in none.
        tampered: an answer was not accepted.
        broken: cells that did not run.
        marks: points of each cell, in the outline's order; None where nobody knows yet.
        said: of each check "passed", "part", "infrastructure" or the reason why it failed.
        took: seconds of each check.
        stumbles: position of a check that broke, and what it said.
        tasks: of each task ("": after the last) the seconds of its cells, of the longest, and the number of that one.
        stages: seconds by stage.
    """

    outline: Outline
    student: str
    sandbox: str
    earned: float
    most: float
    infrastructure: bool
    final: bool
    trouble: str
    tampered: bool
    broken: int
    marks: list[float | None]
    said: list[str]
    took: list[float]
    stumbles: list[tuple[int, str]]
    tasks: list[tuple[str, float, float, int]]
    stages: dict[str, float]

    def text(self) -> str:
        """All but the outline, for a file."""
        return json.dumps([getattr(self, part.name) for part in fields(self)[1:]], separators=(",", ":"))

    @classmethod
    def read(cls, text: str, outline: Outline) -> Brief:
        """What `text` wrote."""
        return cls(outline, *json.loads(text))


def brief(report: Report) -> Brief:
    """What a class is told of a report."""
    trouble = [check.message for check in report.checks if check.outcome == OPEN]
    return Brief(
        outline=Outline(
            tuple((cell.cell, cell.title, cell.max_points, cell.manual) for cell in report.cells),
            tuple((check.id, check.cell, check.title) for check in report.checks),
        ),
        student=report.student,
        sandbox=report.environment.sandbox,
        earned=report.earned,
        most=report.automatic_points,
        infrastructure=report.infrastructure,
        final=report.final,
        trouble=trouble[0][:SAID] if trouble else "",
        tampered=any(check.reason == "tampered" for check in report.checks),
        broken=sum(run.status not in ("ok", "skipped") for run in report.runs),
        marks=[cell.earned for cell in report.cells],
        said=[_said(check) for check in report.checks],
        took=[check.seconds for check in report.checks],
        stumbles=[(at, (check.detail or "")[:SAID]) for at, check in enumerate(report.checks) if check.stumbled],
        tasks=_tasks(report.runs),
        stages=dict(report.timings),
    )


def outline_text(outline: Outline) -> str:
    """An outline, for a file."""
    return json.dumps([outline.cells, outline.checks])


def read_outline(text: str) -> Outline:
    """What `outline_text` wrote."""
    cells, checks = json.loads(text)
    return Outline(tuple(map(tuple, cells)), tuple(map(tuple, checks)))


def _said(check: CheckResult) -> str:
    if check.outcome in (PASSED, OPEN):
        return check.outcome
    return PART if check.outcome == "partial" else check.reason or "wrong"


def _tasks(runs: list[CellRun]) -> list[tuple[str, float, float, int]]:
    found: dict[str, tuple[float, tuple[float, int]]] = {}
    for run in runs:
        total, longest = found.get(run.task or "", (0.0, (0.0, 0)))
        found[run.task or ""] = total + run.seconds, max(longest, (run.seconds, run.index))
    return [(task, total, *longest) for task, (total, longest) in found.items()]
