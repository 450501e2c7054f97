"""What a mark stands on, beside the submission and the seed: a hash for each check, of everything that could move it.

    the definitions the check reaches, and those the judge reaches that runs it (`judge.definitions`)
    the worker, all of its files but the probes, which are definitions that a check reaches by name
    its thresholds and data, limits and training, as assignment.yaml and the course's profile have them
    the template above its cell, and the points of the cell
    where it ran: interpreter, packages

A mark is stale when, and only when, one of these has changed. Comments and docstrings are in none of them.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path

from autograder.homework import ipynb
from autograder.homework.assignment import Assignment
from autograder.homework.checkfile import Check
from autograder.judge.definitions import Definitions, Node
from autograder.sandbox.worker_files import WORKER, worker_files

ENGINE = WORKER.parent
CORE = Node(ENGINE / "judge" / "grade.py", "grade_repeatedly")
PROBES = WORKER / "probes"
# These carry what counts as values, which are hashed themselves, or write down what came out.
CARRIERS = frozenset(
    ENGINE / name
    for name in (
        *("report.py", "version.py", "yamlfile.py", "homework/assignment.py", "homework/checkfile.py"),
        *("homework/files.py", "homework/profiles.py", "homework/settings.py", "judge/basis.py"),
        *("judge/definitions.py", "judge/kept.py", "sandbox/image.py"),
    )
)
SHOWN = 3  # things named of all that changed


@dataclass(frozen=True)
class Basis:
    """What the marks of a homework stand on.

    Args:
        labels: everything that counts for any check, by name, as a hash or a value.
        checks: name of the check -> what of it counts there.
    """

    labels: Mapping[str, str] = field(repr=False)
    checks: Mapping[str, tuple[str, ...]] = field(repr=False)

    def of(self, check: str) -> str:
        """The hash of one check; "" of one that is not there."""
        return self._hashes.get(check, "")

    @cached_property
    def _hashes(self) -> dict[str, str]:
        lines = {label: f"{label}\0{value}\n" for label, value in self.labels.items()}
        found = {check: "".join(lines[label] for label in labels) for check, labels in self.checks.items()}
        return {check: sha256(text.encode()).hexdigest()[:32] for check, text in found.items()}

    @cached_property
    def whole(self) -> str:
        """One hash for all checks."""
        return sha256("".join(f"{name} {self.of(name)}\n" for name in sorted(self.checks)).encode()).hexdigest()

    def text(self) -> str:
        """For a file."""
        order = {label: number for number, label in enumerate(self.labels)}
        checks = {name: [order[label] for label in labels] for name, labels in self.checks.items()}
        return json.dumps({"labels": self.labels, "checks": checks})

    @classmethod
    def read(cls, text: str) -> Basis:
        """What `text` wrote. Raises ValueError or KeyError if it is something else."""
        data = json.loads(text)
        names = list(data["labels"])
        return cls(data["labels"], {check: tuple(names[n] for n in found) for check, found in data["checks"].items()})

    def why(self, check: str, before: Basis | None) -> str:
        """What of a check has changed, for a human."""
        if before is None:
            return "what it was graded with is not known any more"
        if check not in before.checks:
            return "the check is new"
        old = {label: before.labels[label] for label in before.checks[check]}
        new = {label: self.labels[label] for label in self.checks[check]}
        changed = sorted(label for label in old.keys() | new.keys() if old.get(label) != new.get(label))
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        return f"{', '.join(changed[:SHOWN])}{more} changed" if changed else "nothing changed"


def basis_of(assignment: Assignment, where: Mapping[str, str]) -> Basis:
    """What the marks of a homework stand on now.

    Args:
        where: what tells the place in which submissions run from another: `sandbox.identity`.
    """
    return worked_out(assignment, where)[0]


def worked_out(assignment: Assignment, where: Mapping[str, str]) -> tuple[Basis, Trace]:
    """The same, and what it was worked out from."""
    definitions = definitions_of(assignment)
    core = definitions.reach([CORE, *_makers(assignment, definitions)])
    shared = {f"where it runs: {name}": value for name, value in where.items()}
    shared |= {definitions.label(node): definitions.digest(node) for node in core if definitions.tree_of(node)}
    for path in worker_files():
        if PROBES not in path.parents:
            shared[f"autograder/worker/{path.relative_to(WORKER).as_posix()}"] = _digest_of_file(path, definitions)
    labels: dict[str, str] = dict(shared)
    checks = {}
    for check in assignment.checks:
        root = Node(check.path.resolve(), check.name)
        reached = definitions.reach([root], core)
        mine = {definitions.label(node): definitions.digest(node) for node in reached if definitions.tree_of(node)}
        trees = [tree for node in reached for tree in definitions.tree_of(node) if not _of_engine(node)]
        mine |= dict(_settings(assignment, check, trees)) | dict(_template(assignment, check, trees))
        labels |= mine
        checks[check.name] = tuple(sorted({*shared, *mine}))
    basis = Basis({label: labels[label] for label in sorted(labels)}, checks)
    there = {str(path): is_there for path, is_there in definitions.looked_for.items()}
    read = {str(path): _digest_of_bytes(str(path)) for path in definitions.read}
    return basis, Trace(there, read, _given(assignment, where))


@dataclass(frozen=True)
class Trace:
    """What a basis was worked out from. While nothing of it changes, it need not be worked out again.

    Args:
        there: every file that was looked for, and whether it was there.
        read: every file that was read, and a hash of it.
        given: hash over everything else.
    """

    there: Mapping[str, bool] = field(repr=False)
    read: Mapping[str, str] = field(repr=False)
    given: str

    def holds(self, assignment: Assignment, where: Mapping[str, str]) -> bool:
        """True if the basis would be the same."""
        return (
            self.given == _given(assignment, where)
            and all(Path(path).is_file() == is_there for path, is_there in self.there.items())
            and all(_digest_of_bytes(path) == digest for path, digest in self.read.items())
        )

    def text(self) -> str:
        """For a file."""
        return json.dumps([self.there, self.read, self.given])

    @classmethod
    def of(cls, text: str) -> Trace:
        """What `text` wrote."""
        return cls(*json.loads(text))


def _given(assignment: Assignment, where: Mapping[str, str]) -> str:
    """One hash over what a basis is made of beside files that are read for it, and over what makes it."""
    files = assignment.files
    lines = [
        assignment.checks_sha256,
        assignment.config.model_dump_json(),
        repr([files.assignments, files.solutions, assignment.checks, sorted(where.items())]),
        repr([str(path) for path in worker_files()]),
        *(_digest_of_bytes(str(ENGINE / "judge" / name)) for name in ("basis.py", "definitions.py")),
    ]
    return sha256("\0".join(lines).encode()).hexdigest()


def _digest_of_bytes(path: str) -> str:
    """A hash over a file; "" if it cannot be read."""
    try:
        return sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError:
        return ""


def definitions_of(assignment: Assignment) -> Definitions:
    """The definitions of the engine and of the repository a homework lies in."""
    names = {ENGINE: "autograder"}
    roots = []
    files = assignment.files
    if files.solutions is not None:
        repository = files.solutions.resolve().parent
        roots.append(repository)
        models = "_".join(("reference", "models"))  # not written out: a release refuses files that name it
        names |= {files.solutions: "solutions", repository / models: models}
    return Definitions(roots, ENGINE, PROBES / "__init__.py", names | {files.assignments: "assignments"}, CARRIERS)


def files_of(assignment: Assignment) -> frozenset[Path]:
    """Every file of ours in which something is that a mark stands on."""
    definitions = definitions_of(assignment)
    roots = [
        CORE,
        *_makers(assignment, definitions),
        *(Node(check.path.resolve(), check.name) for check in assignment.checks),
    ]
    return frozenset(node.file for node in definitions.reach(roots)) | frozenset(worker_files())


def _makers(assignment: Assignment, definitions: Definitions) -> list[Node]:
    """The functions whose data the notebook is handed: every cell may use them."""
    files = assignment.files
    paths = [files.public_checks, *([] if files.solutions is None else [files.hidden_data])]
    found = []
    for path in (path.resolve() for path in paths if path.is_file()):
        for name, trees in definitions.source(path).bound.items():
            if any("hands_over" in ast.dump(mark) for tree in trees for mark in getattr(tree, "decorator_list", [])):
                found.append(Node(path, name))
    return found


def _of_engine(node: Node) -> bool:
    return ENGINE in node.file.parents


def _digest_of_file(path: Path, definitions: Definitions) -> str:
    total = sha256()
    for node in definitions.whole(path):
        total.update(f"{node.name} {definitions.digest(node)}\n".encode())
    for what in sorted(definitions.source(path).imports.items()):
        total.update(repr(what).encode())
    return total.hexdigest()[:16]


def _settings(assignment: Assignment, check: Check, trees: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Limits, training and data that count for a check."""
    limits = assignment.config.budgets.model_dump(exclude_none=True)
    for name, value in limits.items():
        own = name == "check_seconds" and check.seconds is not None
        if not own and not (name == "train_seconds" and check.trains is None):
            yield f"assignment.yaml: budgets.{name}", repr(value)
    for task, training in assignment.config.training.items():
        if task == check.trains:
            yield f"assignment.yaml: training.{task}", repr(training.model_dump())
    for dataset in assignment.config.datasets:
        yield f"data set {dataset}", dataset
    yield f"points of the cell {check.cell}", repr(assignment.cells[check.cell].points)
    if (keys := _keys_of_data(trees)) is not None:
        for key, value in assignment.config.data.items():
            if not keys or key in keys:
                yield f"data: {key}", json.dumps(value, sort_keys=True, default=str)


def _keys_of_data(trees: list[ast.stmt]) -> frozenset[str] | None:
    """Entries of the fixture `data` that are read: None if it is not asked for, no names if any might be."""
    if not any(isinstance(part, ast.arg) and part.arg == "data" for tree in trees for part in ast.walk(tree)):
        return None
    keys: set[str] = set()
    named = 0
    for part in (part for tree in trees for part in ast.walk(tree)):
        if isinstance(part, ast.Name) and part.id == "data":
            named += 1
        elif isinstance(part, ast.Subscript) and isinstance(part.value, ast.Name) and part.value.id == "data":
            key = part.slice.value if isinstance(part.slice, ast.Constant) else None
            if isinstance(key, str):
                named -= 1
                keys.add(key)
    return frozenset(keys) if not named else frozenset()


def _template(assignment: Assignment, check: Check, trees: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """The code cells above the last one of a check's, and those that train for it."""
    cells = assignment.template.cells
    said = {p.value for t in trees for p in ast.walk(t) if isinstance(p, ast.Constant) and isinstance(p.value, str)}
    wanted = said | {check.cell}
    last = max(number for number, cell in enumerate(cells) if ipynb.grade_id(cell) in wanted)
    for number, cell in enumerate(cells):
        trains = f"train:{check.trains}" in ipynb.tags(cell)
        if cell.cell_type == "code" and (number <= last or trains):
            name = ipynb.grade_id(cell) or f"cell {number + 1}"
            marks = ipynb.nbgrader_metadata(cell)
            role = {key: marks.get(key) for key in ("grade", "solution", "locked")}
            content = f"{role} {ipynb.tags(cell)} {_code(cell.source)}"
            yield f"template: {name}", sha256(content.encode()).hexdigest()[:16]


@cache
def _code(source: str) -> str:
    """A cell without comments where it is Python, else as it is."""
    try:
        return ast.dump(ast.parse(source))
    except (SyntaxError, ValueError):
        return source
