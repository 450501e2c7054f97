"""The report: one JSON document per graded submission, with everything needed to repeat the run."""

from __future__ import annotations

import os
import tempfile
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from autograder.errors import Reason

Outcome = Literal["passed", "partial", "failed", "infrastructure"]


class Model(BaseModel):
    """A document part: unknown keys are refused, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(Model):
    """Numbers to draw beside a check, rendered by the feedback page.

    `kind` says what `panels` hold: "images" (N, H, W) in [0, 1], drawn as a grid; "heatmap" (H, W);
    "curve" (N, 2) rows of x and y; "points" (N, 2).
    """

    title: str
    kind: Literal["images", "heatmap", "curve", "points"]
    panels: dict[str, list[Any]]  # panel title -> nested lists of finite floats


class Measure(Model):
    """A figure of a trained model, and the line on which it earns points; None where it is not a finite number."""

    what: str  # "the loss on held-out digits"
    value: float | None
    floor: float  # earns nothing
    target: float  # earns everything
    unit: str = ""


class CheckResult(Model):
    """One check, one outcome, one reason."""

    id: str  # name of the test function, with its parameters
    cell: str  # grade_id of the cell whose points it carries
    title: str  # first line of the check's docstring
    public: bool
    points: float  # points it carries
    fraction: float = Field(ge=0.0, le=1.0)  # share of them that is earned
    outcome: Outcome
    reason: Reason | None = None  # set if and only if outcome is failed or partial
    starved: bool = False  # infrastructure, because the machine was too busy; final once tried alone
    message: str = ""  # for the student
    hint: str | None = None
    where: str | None = None  # the student's own last frame
    detail: str | None = None  # for the TA only; never on a student's page
    full: str | None = None  # the student's own error as it was said, where `message` of a hidden check only names it
    stumbled: bool = False  # the check itself broke, by its author's doing or by what it was given
    overran: bool = False  # the judge's own part of it took too much and was stopped
    seconds: float = 0.0
    figures: list[Figure] = []
    measures: list[Measure] = []
    basis: str = ""  # hash over all that made this outcome beside the submission and the seed (`judge.basis`)


class CellResult(Model):
    """Points of one graded cell. A manual cell waits for a human and has `earned` None."""

    cell: str
    title: str
    max_points: float
    manual: bool
    earned: float | None


class CellRun(Model):
    """What happened when one cell of the notebook ran."""

    index: int  # position in the submitted notebook, counted from 1 over all cells
    begins: str = ""  # its first line, by which its author knows it: no notebook shows the numbers of its cells
    task: str | None = None  # grade_id of the graded cell that ends the task it belongs to
    status: Literal["ok", "error", "skipped", "crash", "timeout", "memory", "starved"]
    seconds: float
    error: str | None = None  # "NameError: name 'x' is not defined (line 3: y = x)"
    notes: list[str] = []  # "`!pip install einops` was not run"
    stdout: str = ""


class Environment(Model):
    """Where and how the submission ran."""

    sandbox: Literal["docker", "process"]
    image: str | None  # digest of the image, None for the process sandbox
    device: str
    settled: dict[str, str] = {}  # how the device computes, where it is a GPU: what makes it repeatable, what caps it
    clock: Literal["charged", "wall"] = "charged"  # what time limits counted; "wall" where the machine tells no more
    profile: str | None = None  # of assignment.yaml
    versions: dict[str, str]  # of python, torch, numpy in the sandbox and of the engine
    limits: dict[str, float]
    seed: int


class Report(Model):
    """Everything about one graded submission. Reports of the schema before this one can be read."""

    schema_number: Literal[2] = 2
    assignment: str
    student: str
    submission_sha256: str
    basis: str  # the same of all checks
    data: dict[str, Any] = {}  # thresholds and the like, as the checks read them
    environment: Environment
    checks: list[CheckResult]
    cells: list[CellResult]
    runs: list[CellRun]
    notes: list[str]  # about the submission as a whole, for the student
    started: str  # ISO 8601, UTC
    timings: dict[str, float]  # seconds by stage: notebook, checks, total; "charged": of the submission's own time

    @model_validator(mode="before")
    @classmethod
    def _of_schema_1(cls, value: Any) -> Any:
        """A report of schema 1 does not say what its marks stand on; they are not called stale for that."""
        if isinstance(value, dict) and "checks_sha256" in value:
            return {key: part for key, part in value.items() if key != "checks_sha256"} | {"basis": ""}
        return value

    @property
    def infrastructure(self) -> bool:
        """True if anything failed that is not the student's doing; the points of such a report are not entered."""
        return any(check.outcome == "infrastructure" for check in self.checks)

    @property
    def starved(self) -> bool:
        """True if the machine was too busy for a part of it."""
        return any(check.starved for check in self.checks)

    @property
    def final(self) -> bool:
        """True if grading again in the same place would only repeat it."""
        return all(check.outcome != "infrastructure" or check.starved for check in self.checks)

    @property
    def earned(self) -> float:
        """Automatic points earned, exact sum of the automatic cells."""
        automatic = [cell.earned for cell in self.cells if cell.earned is not None and not cell.manual]
        return float(sum(map(exact, automatic), Fraction(0)))

    @property
    def marks(self) -> dict[str, float | None]:
        """Points of every automatic cell; None where the machine failed."""
        return {cell.cell: cell.earned for cell in self.cells if not cell.manual}

    @property
    def automatic_points(self) -> float:
        """Automatic points that could be earned."""
        return float(sum((exact(c.max_points) for c in self.cells if not c.manual), Fraction(0)))

    def save(self, path: Path) -> None:
        """Write the report whole or not at all."""
        write_atomically(path, self.text)

    @property
    def text(self) -> str:
        """What its file holds."""
        return self.model_dump_json(indent=1)

    @classmethod
    def load(cls, path: Path) -> Report:
        """Read a report. Raises pydantic.ValidationError when the file is not one."""
        return cls.model_validate_json(path.read_bytes())


@lru_cache(maxsize=4096)
def exact(points: float) -> Fraction:
    """Points as written, 0.1 meaning one tenth."""
    return Fraction(str(points))


def lost_cells(report: Report) -> frozenset[str]:
    """Automatic cells of the report that did not earn all their points."""
    return frozenset(c.cell for c in report.cells if not c.manual and (c.earned is None or c.earned < c.max_points))


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` through a temporary file in the same folder, synced before the rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
