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
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from nbformat import NotebookNode

from autograder.errors import UnreadableError, UserError
from autograder.homework import ipynb
from autograder.homework.checkfile import Check, local_imports, read_checks
from autograder.homework.files import CONFIG, HomeworkFiles
from autograder.homework.handed import asked_for, declared
from autograder.homework.profiles import dataset_folders, under
from autograder.homework.settings import AssignmentConfig
from autograder.report import exact
from autograder.yamlfile import load_yaml


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
    files: HomeworkFiles
    template: NotebookNode = field(repr=False)
    template_sha256: str
    cells: Mapping[str, GradedCell]  # grade_id -> cell, in the template's order
    hidden_checks: tuple[Path, ...]  # empty on a student's machine
    checks: tuple[Check, ...]
    checks_sha256: str

    @property
    def template_path(self) -> Path:
        """The template notebook's file; what is handed in has its name."""
        return self.files.template(self.config.notebook)

    @property
    def public_checks(self) -> Path:
        return self.files.public_checks

    def modules(self) -> dict[str, bytes]:
        """The homework's own modules, which the notebook imports at home and in the sandbox, by file name."""
        return {name: path.read_bytes() for name, path in self.data_files.items() if path.suffix == ".py"}

    @property
    def datasets(self) -> dict[str, Path]:
        """The folders of its large data sets. Raises UserError if one is not at hand."""
        return dataset_folders(self.config, dict(self.files.datasets))

    @property
    def data_files(self) -> dict[str, Path]:
        """Files that lie beside the checks, by name, and go to students with them."""
        return {name: self.files.folder / name for name in self.config.files}

    @property
    def points(self) -> float:
        """Points of the homework, manual cells included."""
        return self.config.points

    @property
    def points_of_cells(self) -> dict[str, float]:
        """Points of every graded cell."""
        return {name: cell.points for name, cell in self.cells.items()}

    @property
    def automatic(self) -> tuple[str, ...]:
        """grade_ids of the cells that checks grade."""
        return tuple(name for name, cell in self.cells.items() if not cell.manual)

    @property
    def manual(self) -> tuple[str, ...]:
        """grade_ids of the cells that wait for a human."""
        return tuple(name for name, cell in self.cells.items() if cell.manual)


def _import_beside(files: HomeworkFiles) -> None:
    """Hidden code may import what lies beside the hidden folder, such as models it compares with, wherever we run."""
    if files.solutions is not None:
        beside = str(files.solutions.resolve().parent)
        if beside not in sys.path:
            sys.path.append(beside)  # last: a file named like a library must not stand in for it


def load_assignment(files: HomeworkFiles) -> Assignment:
    """Load one homework. Raises UserError with every problem found, one sentence a line.

    Without solutions (a student's machine) only the public checks are loaded, and they may carry fewer points than
    their cells.
    """
    name = files.name
    _import_beside(files)
    if not files.folder.is_dir():
        known = ", ".join(sorted(p.parent.name for p in files.assignments.glob(f"*/{CONFIG}"))) or "none"
        raise UserError(f"There is no assignment `{name}` in {files.assignments} (found: {known}).")
    config = under(load_yaml(files.config, AssignmentConfig), files.profile, files.config)
    if config.name != name:
        raise UserError(f"{files.config}: `name` is {config.name!r} but the folder is called `{name}`.")
    template_path = files.template(config.notebook)
    template = _read_template(template_path)
    hidden = files.hidden_checks()
    checks = read_checks(files.public_checks, public=True)
    for path in hidden:
        checks += read_checks(path, public=False)
    data = tuple(files.folder / name for name in config.files)
    absent = [path.name for path in data if not path.is_file()]
    problems = [f"{files.config}: `files` names {name}, which does not exist." for name in absent]
    cells = graded_cells(template, template_path, problems)
    problems += _check_points(config, cells, checks, files.folder, complete=files.solutions is not None)
    problems += _check_training(config, template, checks, files.config)
    problems += _check_handed(config, template, files)
    if problems:
        raise UserError("\n".join(problems))
    return Assignment(
        name=name,
        title=config.title,
        config=config,
        files=files,
        template=template,
        template_sha256=hashlib.sha256(template_path.read_bytes()).hexdigest(),
        cells=cells,
        hidden_checks=hidden,
        checks=checks,
        checks_sha256=_digest(files, template_path, hidden, data),
    )


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
            f"{folder / CONFIG}: the graded cells add up to {_number(total)} points, "
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
    config: AssignmentConfig, template: NotebookNode, checks: tuple[Check, ...], file: Path
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
            yield f"{file}: `training.{task}` has no cell tagged `train:{task}` in the template."


def _check_handed(config: AssignmentConfig, template: NotebookNode, files: HomeworkFiles) -> Iterator[str]:
    """Whatever the notebook asks for is there at home too."""
    public = declared(files.public_checks)
    for name in sorted(asked_for(cell.source for cell in template.cells if cell.cell_type == "code") - set(public)):
        yield f'The template asks `course_data("{name}")`, and {files.public_checks} hands over nothing of that name.'
    for task, training in config.training.items():
        if training.data is not None and training.data not in public:
            yield (
                f"{files.config}: `training.{task}` trains on {training.data!r}, which {files.public_checks} does not "
                "hand over."
            )
    if files.solutions is not None and files.hidden_data.is_file():
        for name in sorted(set(declared(files.hidden_data)) - set(public)):
            yield f"{files.hidden_data} hands over {name!r}; {files.public_checks} has no example of it for students."


def _read_template(path: Path) -> NotebookNode:
    try:
        notebook, _ = ipynb.parse(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; `autograder release` makes it from the solution.") from None
    except UnreadableError as error:
        raise UserError(f"{path} {error}") from None
    return notebook


def _digest(files: HomeworkFiles, template: Path, hidden: tuple[Path, ...], beside: tuple[Path, ...]) -> str:
    """One hash over all that decides a score, besides the submission, the image and the seed."""
    engine = Path(__file__).parent.parent
    read = [template, files.config, files.public_checks, *beside]
    for checks in hidden:
        read += [checks, *local_imports(checks)]
    if files.solutions is not None and files.hidden_data.is_file():
        read += [files.hidden_data, *local_imports(files.hidden_data)]
    for package in ("student", "vocabulary", "worker"):
        read += sorted((engine / package).rglob("*.py"))
    read += [engine / "homework" / "restore.py", engine / "homework" / "handed.py"]
    total = hashlib.sha256(b"" if files.profile is None else f"profile {files.profile}\0".encode())
    for path in dict.fromkeys(read):
        data = path.read_bytes()
        total.update(f"{path.parent.name}/{path.name}\0{len(data)}\0".encode())
        total.update(data)
    return total.hexdigest()


def _last_heading(source: str) -> str:
    headings = re.findall(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t#]*$", source, flags=re.MULTILINE)
    return headings[-1].strip() if headings else ""


def _number(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):g}"
