"""The result of a calibration as a file beside the homework, and whether it still speaks of these checks.

`solutions/hwN/calibration.json` holds every figure and mark that was measured, the proposals, and a hash of what the
figures follow from: the solution's code, the checks, the budgets and the data, floors and targets left out. Moving a
line to where the calibration proposes it does not make it old.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autograder.authoring.calibrate import Calibration, Figure
from autograder.authoring.lines import LEAST, Line, Spread, bound, chance_of_all, looks_normal, proposed
from autograder.homework.assignment import Assignment
from autograder.homework.checkfile import local_imports
from autograder.judge.model_answers import read_solution
from autograder.report import Model, Report, write_atomically
from autograder.version import VERSION

LINES = ("floor", "target")


@dataclass(frozen=True)
class Judged:
    """One figure, its present line, and the one that the runs of the solution ask for."""

    figure: Figure
    line: Line
    spread: Spread  # of the solution
    bound: float
    proposal: Line

    @property
    def holds(self) -> bool:
        """True if the solution earns everything with the probability asked for."""
        return self.line.sign * (self.bound - self.line.target) <= 0


class Saved(Model):
    """`calibration.json`."""

    homework: str
    checks: str  # hash of what the figures follow from
    engine: str
    sandbox: str
    bounds: dict[str, float]  # "check: figure" -> what a training like the solution's stays within
    proposals: dict[str, dict[str, float]]
    figures: dict[str, dict[str, list[float]]]  # "check: figure" -> training -> values
    marks: dict[str, list[float]]  # training -> points of the trained cells
    findings: list[str]


def judged(calibration: Calibration) -> list[Judged]:
    """Every figure with its proposal; those with too few values are left out."""
    lines = calibration.figures()
    found = []
    for figure, line in lines.items():
        spread = calibration.spread("solution", figure)
        if len(spread.values) >= LEAST:
            limit = bound(spread, line, len(lines))
            best = proposed(spread, calibration.baselines(figure), line, len(lines))
            found.append(Judged(figure, line, spread, limit, best))
    return found


def findings(calibration: Calibration) -> list[str]:
    """What is to be mended, a sentence each."""
    found = list(calibration.troubles)
    for one in judged(calibration):
        place = f"`{one.figure[0]}`, {one.figure[1]}"
        if not one.holds:
            chance = chance_of_all(one.spread, one.line)
            found.append(
                f"{place}: the target {one.line.target:g} is not safe. After {len(one.spread.values)} trainings all"
                f" that can be said is that the solution stays within {one.bound:.4g} (estimated probability of"
                f" the target: {chance:.4f}); propose {one.proposal.target:g}, or train under more seeds."
            )
        if one.proposal.sign != one.line.sign or one.proposal.floor == one.proposal.target:
            found.append(f"{place}: a baseline is as good as the solution, so no line tells them apart.")
        if not looks_normal(one.spread):
            found.append(f"{place}: the solution's values are not normal; run more seeds, or train more evenly.")
    measured = {figure for figure, _ in calibration.figures()}
    if not measured:
        found.append("no check measured a figure: `assert_score` and `assert_excess` do.")
    return [*found, *calibration.accusations()]


def save(calibration: Calibration, sandbox: str) -> Path:
    """Write the result beside the homework and return its path."""
    assignment = calibration.assignment
    lines = calibration.figures()
    names = [training.name for training in calibration.trainings]
    saved = Saved(
        homework=assignment.name,
        checks=digest_of(assignment),
        engine=VERSION,
        sandbox=sandbox,
        bounds={_named(one.figure): one.bound for one in judged(calibration)},
        proposals={
            _named(one.figure): {"floor": one.proposal.floor, "target": one.proposal.target}
            for one in judged(calibration)
        },
        figures={
            _named(figure): {name: [round(v, 6) for v in calibration.spread(name, figure).values] for name in names}
            for figure in lines
        },
        marks={name: marks_of(calibration, name) for name in names},
        findings=findings(calibration),
    )
    path = assignment.files.calibrated
    write_atomically(path, json.dumps(saved.model_dump(), indent=1, ensure_ascii=False) + "\n")
    return path


def marks_of(calibration: Calibration, name: str) -> list[float]:
    """Points of the cells that trained checks decide, one a run."""
    return [_marks(calibration, report) for report in calibration.reports.get(name, [])]


def marks_by_law(calibration: Calibration) -> list[tuple[float, float]]:
    """The solution's marks in two trainings on each law that was trained on twice."""
    reports = calibration.reports.get("solution", [])
    pairs = [(report, calibration.repeats.get(report.environment.seed)) for report in reports]
    return [(_marks(calibration, one), _marks(calibration, other)) for one, other in pairs if other is not None]


def _marks(calibration: Calibration, report: Report) -> float:
    trained = {check.cell for check in calibration.assignment.checks if check.trains is not None}
    return round(sum(cell.earned or 0.0 for cell in report.cells if cell.cell in trained), 4)


def complaints(assignment: Assignment) -> Iterator[str]:
    """What an audit says of a homework's calibration: it is missing or older than the checks."""
    if all(check.trains is None for check in assignment.checks):
        return
    path = assignment.files.calibrated
    command = f"run `autograder calibrate {assignment.name}`."
    try:
        saved = Saved.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        yield f"{assignment.name} trains models and was never calibrated; {command}"
        return
    except (OSError, ValidationError):
        yield f"{path} cannot be read; {command}"
        return
    if saved.checks != digest_of(assignment):
        yield f"the calibration of {assignment.name} is older than its checks; {command}"
    else:
        yield from (f"the calibration found: {sentence}" for sentence in saved.findings)


def digest_of(assignment: Assignment) -> str:
    """A hash of all that trained figures follow from, lines left out."""
    config = assignment.config
    settings = [config.budgets.model_dump(exclude_none=True), {k: v.model_dump() for k, v in config.training.items()}]
    total = hashlib.sha256(json.dumps([*settings, _without_lines(config.data)], sort_keys=True).encode())
    for cell in read_solution(assignment.files.solution).cells:
        if cell.cell_type == "code":
            total.update(hashlib.sha256(cell.source.encode()).digest())
    paths = [assignment.public_checks]
    for checks in assignment.hidden_checks:
        paths += [checks, *local_imports(checks)]
    for path in dict.fromkeys(paths):
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _without_lines(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(key): _without_lines(value) for key, value in data.items() if key not in LINES}
    return [_without_lines(value) for value in data] if isinstance(data, list) else data


def _named(figure: Figure) -> str:
    return f"{figure[0]}: {figure[1]}"
