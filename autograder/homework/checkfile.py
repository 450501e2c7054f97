"""Read the markers of a file of checks without running it.

@pytest.mark.graded("cell-id", points=0.5, seconds=60, trains="task", reply_mb=40)
def test_name(student): ...
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder.errors import UserError

ARGUMENTS = ("cell", "points", "seconds", "trains", "reply_mb")
REPLY_MB = 200  # at most; a frame has 256


@dataclass(frozen=True)
class Check:
    """One check as its marker declares it."""

    name: str  # of the test function
    cell: str  # grade_id of the cell whose points it carries
    points: float  # of the function as a whole, split equally over its parameters
    seconds: float | None  # deadline of one run; None: the assignment's default
    trains: str | None  # training task it asks for
    reply_mb: float | None  # megabytes of one reply; None: the engine's default
    public: bool
    title: str  # first line of its docstring
    path: Path
    line: int


def read_checks(path: Path, *, public: bool) -> tuple[Check, ...]:
    """The checks of one file, in its order. Raises UserError naming file and line."""
    tree = _parse(path)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node not in functions and _marker(node):
            raise UserError(f"{path}, line {node.lineno}: `{node.name}` must stand at the top level of the file.")
    checks = []
    for node in functions:
        marker = _marker(node)
        if marker is None:
            if node.name.startswith("test"):
                raise UserError(f"{path}, line {node.lineno}: `{node.name}` has no @pytest.mark.graded marker.")
            continue
        if not node.name.startswith("test_"):
            raise UserError(f"{path}, line {node.lineno}: a check's name starts with `test_`, got `{node.name}`.")
        checks.append(_check(path, node, marker, public))
    return tuple(checks)


def local_imports(path: Path) -> Iterator[Path]:
    """Files a file of checks depends on that live in the same repository, in a fixed order.

    The repository is the folder two above the check file's own (of `solutions/hw1/checks.py`, that of `solutions`).
    `from .laws import ...` means a module beside the check file, `from ..common.draws import ...` one that homeworks
    share. Of a package beside `solutions` all files count; of
    `solutions` itself only the modules that are named; the engine is left out.
    """
    folder = path.resolve().parent
    own = folder.parent
    modules = set()
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level in (1, 2):
            inside = f".{folder.name}" if node.level == 1 else ""
            modules.add(f"{own.name}{inside}.{node.module}")
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    for module in sorted(modules):
        top, *_ = module.split(".")
        if top == "autograder":
            continue
        target = own.parent.joinpath(*(module.split(".") if top == own.name else [top]))
        if target.with_suffix(".py").is_file():
            yield target.with_suffix(".py")
        elif target.is_dir() and top != own.name:
            yield from sorted(target.rglob("*.py"))


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}.") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}.") from None


def _marker(node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.expr | None:
    for decorator in node.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        if (isinstance(target, ast.Attribute) and target.attr == "graded") or (
            isinstance(target, ast.Name) and target.id == "graded"
        ):
            return decorator
    return None


def _check(path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef, marker: ast.expr, public: bool) -> Check:
    place = f"{path}, line {marker.lineno}: the marker of `{node.name}`"
    if not isinstance(marker, ast.Call):
        raise UserError(f"{place} names no cell and no points.")
    given: dict[str, Any] = {}
    pairs: list[tuple[str | None, ast.expr]] = [*zip(ARGUMENTS, marker.args, strict=False)]
    pairs += [(keyword.arg, keyword.value) for keyword in marker.keywords]
    if len(marker.args) > len(ARGUMENTS):
        raise UserError(f"{place} has too many arguments.")
    for name, value in pairs:
        if name not in ARGUMENTS or name in given:
            raise UserError(f"{place} has an argument `{name}` it should not have; known: {', '.join(ARGUMENTS)}.")
        try:
            given[name] = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError):
            raise UserError(f"{place}: `{name}` must be written out, not computed.") from None
    cell: Any = given.get("cell")
    points: Any = given.get("points")
    seconds, trains, reply_mb = given.get("seconds"), given.get("trains"), given.get("reply_mb")
    if not isinstance(cell, str) or not cell:
        raise UserError(f"{place} names no cell.")
    if not _is_number(points) or not points >= 0:
        raise UserError(f"{place} needs points, a number, got {points!r}.")
    if seconds is not None and (not _is_number(seconds) or seconds <= 0):
        raise UserError(f"{place}: `seconds` must be a positive number, got {seconds!r}.")
    if trains is not None and (not isinstance(trains, str) or not trains):
        raise UserError(f"{place}: `trains` must name a training task, got {trains!r}.")
    if reply_mb is not None and (not _is_number(reply_mb) or not 1 <= reply_mb <= REPLY_MB):
        raise UserError(f"{place}: `reply_mb` must be a number from 1 to {REPLY_MB}, got {reply_mb!r}.")
    title = (ast.get_docstring(node) or "").strip().split("\n")[0]
    if not title:
        raise UserError(f"{path}, line {node.lineno}: `{node.name}` has no docstring; students read its first line.")
    return Check(
        name=node.name,
        cell=cell,
        points=float(points),
        seconds=None if seconds is None else float(seconds),
        trains=trains,
        reply_mb=None if reply_mb is None else float(reply_mb),
        public=public,
        title=title,
        path=path,
        line=node.lineno,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
