"""Load an assignment and refuse one that could not be graded fairly.

An assignment is a folder of `assignments/` (what students get: `assignment.yaml`, template notebook, `checks.py`) and,
for whoever grades, the folder of the same name in `solutions/` (the hidden checks: every `checks*.py` of it). Points
live in one place, the graded cells' nbgrader metadata; loading fails if they do not add up to the homework's points, a
graded cell has no check, a check names no cell, or a cell's checks carry other points than the cell.

Check files are read with `ast`, never imported here: a marker's arguments are literals. A parametrised check carries
its `points` once, split equally over its parameters.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from pydantic import Field, field_validator

from autograder.errors import UserError
from autograder.homework import ipynb
from autograder.homework.checkfile import Check, local_imports, read_checks
from autograder.report import exact
from autograder.yamlfile import StrictModel, load_yaml

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Budgets(StrictModel):
    """Caps of one submission. Times are wall-clock seconds."""

    cell_seconds: float = Field(default=60, gt=0)
    check_seconds: float = Field(default=20, gt=0)  # of a check whose marker names no other
    train_seconds: float = Field(default=300, gt=0)  # all cells of one training task
    submission_seconds: float = Field(default=900, gt=0)
    memory_mb: int = Field(default=2048, ge=256)


class Training(StrictModel):
    """How a submitted checkpoint of one training task is turned into a model, inside the sandbox."""

    name: str  # the notebook's name of the trained model
    checkpoint: str  # file name a student may hand in beside the notebook
    build: str  # name of a function without arguments, defined in the notebook, that returns the untrained model

    @field_validator("checkpoint")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if value in {"", ".", ".."} or re.search(r"[/\\\0]", value):
            raise ValueError("should be a plain file name")
        return value

    @field_validator("name", "build")
    @classmethod
    def _identifier(cls, value: str) -> str:
        if not value.isidentifier():
            raise ValueError("should be a name of the notebook")
        return value


class AssignmentConfig(StrictModel):
    """`assignment.yaml`."""

    name: str
    title: str
    points: float = Field(gt=0)
    notebook: str | None = None  # default: <name>.ipynb
    budgets: Budgets = Budgets()
    training: dict[str, Training] = Field(default={})
    data: dict[str, Any] = Field(default={})  # datasets and thresholds, as the checks read them


@dataclass(frozen=True)
class GradedCell:
    """A cell that carries points."""

    grade_id: str
    points: float
    manual: bool  # a human reads it
    title: str  # the last heading above it


@dataclass(frozen=True)
class Assignment:
    """Everything the grader knows about one homework."""

    name: str
    title: str
    config: AssignmentConfig
    folder: Path
    template_path: Path
    template: NotebookNode = field(repr=False)
    cells: Mapping[str, GradedCell]  # grade_id -> cell, in the template's order
    public_checks: Path
    hidden_checks: tuple[Path, ...]  # empty on a student's machine
    checks: tuple[Check, ...]
    checks_sha256: str

    @property
    def points(self) -> float:
        """Points of the homework, manual cells included."""
        return self.config.points

    @property
    def automatic(self) -> tuple[str, ...]:
        """grade_ids of the cells that checks grade."""
        return tuple(name for name, cell in self.cells.items() if not cell.manual)

    @property
    def manual(self) -> tuple[str, ...]:
        """grade_ids of the cells that wait for a human."""
        return tuple(name for name, cell in self.cells.items() if cell.manual)


def load_assignment(name: str, assignments_dir: Path, solutions_dir: Path | None) -> Assignment:
    """Load one homework. Raises UserError with every problem found, one sentence a line.

    With `solutions_dir` None (a student's machine) only the public checks are loaded, and they may carry fewer points
    than their cells.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name of an assignment; names look like `hw1`.")
    folder = Path(assignments_dir) / name
    if not folder.is_dir():
        known = ", ".join(sorted(p.parent.name for p in Path(assignments_dir).glob("*/assignment.yaml"))) or "none"
        raise UserError(f"There is no assignment `{name}` in {assignments_dir} (found: {known}).")
    config = load_yaml(folder / "assignment.yaml", AssignmentConfig)
    if config.name != name:
        raise UserError(f"{folder / 'assignment.yaml'}: `name` is {config.name!r} but the folder is called `{name}`.")
    template_path = folder / (config.notebook or f"{name}.ipynb")
    template = _read_template(template_path)
    public = folder / "checks.py"
    hidden = hidden_check_files(Path(solutions_dir) / name) if solutions_dir is not None else ()
    checks = read_checks(public, public=True)
    for path in hidden:
        checks += read_checks(path, public=False)
    problems: list[str] = []
    cells = graded_cells(template, template_path, problems)
    problems += _check_points(config, cells, checks, folder, complete=solutions_dir is not None)
    problems += _check_training(config, template, checks, folder)
    if problems:
        raise UserError("\n".join(problems))
    return Assignment(
        name=name,
        title=config.title,
        config=config,
        folder=folder,
        template_path=template_path,
        template=template,
        cells=cells,
        public_checks=public,
        hidden_checks=hidden,
        checks=checks,
        checks_sha256=_digest(folder, template_path, public, hidden),
    )


def hidden_check_files(folder: Path) -> tuple[Path, ...]:
    """The files of hidden checks of one homework, in a fixed order. Raises UserError if there is none."""
    files = tuple(sorted(folder.glob("checks*.py")))
    if not files:
        raise UserError(f"{folder / 'checks.py'} does not exist, nor any other file of hidden checks (checks*.py).")
    return files


def graded_cells(template: NotebookNode, path: Path, problems: list[str]) -> dict[str, GradedCell]:
    """The cells that carry points, in order; what is wrong with them is appended to `problems`."""
    found: dict[str, GradedCell] = {}
    seen: dict[str, int] = {}
    heading = ""
    for number, cell in enumerate(template.cells, start=1):
        meta = ipynb.nbgrader_metadata(cell)
        if cell.cell_type == "markdown":
            heading = _last_heading(cell.source) or heading
        if not meta:
            continue
        grade_id = meta.get("grade_id")
        place = f"{path}, cell {number}"
        if not isinstance(grade_id, str) or not grade_id:
            problems.append(f"{place}: its nbgrader metadata has no grade_id.")
            continue
        if grade_id in seen:
            problems.append(f"{place}: grade_id `{grade_id}` is already used by cell {seen[grade_id]}.")
            continue
        seen[grade_id] = number
        if not meta.get("grade"):
            continue
        points = meta.get("points")
        if isinstance(points, bool) or not isinstance(points, int | float) or not 0 <= points < 1e6:
            problems.append(f"{place}: `{grade_id}` has points {points!r}; a number of points is needed.")
            continue
        found[grade_id] = GradedCell(grade_id, float(points), bool(meta.get("solution")), heading or grade_id)
    return found


def _check_points(
    config: AssignmentConfig,
    cells: Mapping[str, GradedCell],
    checks: tuple[Check, ...],
    folder: Path,
    *,
    complete: bool,
) -> Iterator[str]:
    total = sum((exact(cell.points) for cell in cells.values()), Fraction(0))
    if total != exact(config.points):
        yield (
            f"{folder / 'assignment.yaml'}: the graded cells add up to {_number(total)} points, "
            f"but `points` says {_number(exact(config.points))}."
        )
    carried: Counter[str] = Counter()
    worth = {name: Fraction(0) for name in cells}
    for check in checks:
        place = f"{check.path}, line {check.line}: `{check.name}`"
        if check.cell not in cells:
            yield f"{place} names the cell `{check.cell}`, which the template does not have."
        elif cells[check.cell].manual:
            yield f"{place} names `{check.cell}`, which a human grades."
        else:
            carried[check.cell] += 1
            worth[check.cell] += exact(check.points)
    for name, count in Counter(check.name for check in checks).items():
        if count > 1:
            yield f"The check `{name}` is defined {count} times; names must differ between public and hidden checks."
    for cell in cells.values():
        if cell.manual:
            continue
        due, have = exact(cell.points), worth[cell.grade_id]
        if complete and not carried[cell.grade_id]:
            yield f"{folder}: the graded cell `{cell.grade_id}` has no check."
        elif have > due or (complete and have != due):
            yield (
                f"{folder}: the checks of `{cell.grade_id}` carry {_number(have)} points, "
                f"but the cell has {_number(due)}."
            )


def _check_training(
    config: AssignmentConfig, template: NotebookNode, checks: tuple[Check, ...], folder: Path
) -> Iterator[str]:
    tagged = {tag for cell in template.cells for tag in ipynb.tags(cell)}
    for check in checks:
        if check.trains is not None and f"train:{check.trains}" not in tagged:
            yield (
                f"{check.path}, line {check.line}: `{check.name}` trains `{check.trains}`, "
                f"but no cell of the template is tagged `train:{check.trains}`."
            )
    for task in config.training:
        if f"train:{task}" not in tagged:
            yield f"{folder / 'assignment.yaml'}: `training.{task}` has no cell tagged `train:{task}` in the template."


def _read_template(path: Path) -> NotebookNode:
    try:
        notebook, _ = ipynb.parse(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; `autograder release` makes it from the solution.") from None
    except ipynb.UnreadableError as error:
        raise UserError(f"{path} {error}") from None
    return notebook


def _digest(folder: Path, template: Path, public: Path, hidden: tuple[Path, ...]) -> str:
    """One hash over all that decides a score, besides the submission, the image and the seed."""
    engine = Path(__file__).parent.parent
    files = [template, folder / "assignment.yaml", public]
    for checks in hidden:
        files += [checks, *local_imports(checks)]
    for package in ("student", "vocabulary", "worker"):
        files += sorted((engine / package).rglob("*.py"))
    files.append(engine / "homework" / "restore.py")
    total = hashlib.sha256()
    for path in dict.fromkeys(files):
        data = path.read_bytes()
        total.update(f"{path.parent.name}/{path.name}\0{len(data)}\0".encode())
        total.update(data)
    return total.hexdigest()


def _last_heading(source: str) -> str:
    headings = re.findall(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t#]*$", source, flags=re.MULTILINE)
    return headings[-1].strip() if headings else ""


def _number(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):g}"
