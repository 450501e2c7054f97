"""`autograder check hw1.ipynb`: a notebook played from top to bottom on a student's machine, and its public checks."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autograder.errors import Infrastructure, SandboxWarning, StudentFault, UnreadableError, UserError
from autograder.homework import ipynb
from autograder.homework.checkfile import Check, read_checks
from autograder.homework.files import CHECKS
from autograder.homework.restore import restore
from autograder.homework.settings import Budgets
from autograder.judge.clock import sandbox_limits
from autograder.judge.handing import handed_at_home
from autograder.judge.keys import Keys
from autograder.judge.messages import sources_of
from autograder.judge.runner import Bench, CheckFile, run_checks
from autograder.judge.session import Session
from autograder.report import CellRun, CheckResult
from autograder.sandbox import open_provider
from autograder.submission import DEPTH, FILE_BYTES, FILES, FILES_BYTES
from autograder.worker.datasets import BESIDE, at_home

BUDGETS = Budgets(submission_seconds=3600, memory_mb=4096)  # generous: it is the student's own machine


@dataclass(frozen=True)
class NotebookResults:
    """What the public checks say of a notebook file."""

    checks: list[CheckResult]
    left_out: int  # checks that train a model and were not asked for
    runs: list[CellRun]


def check_notebook(notebook: Path, cell: str | None = None, *, train: bool = False) -> NotebookResults:
    """Run a notebook from top to bottom in a process of its own, and its public checks.

    Args:
        cell: one task alone.
        train: also run the checks that train a model.

    Raises:
        UserError: the notebook or its checks cannot be read, or there is no such task.
    """
    checks = notebook.parent / CHECKS
    try:
        parsed, _ = ipynb.parse(notebook.read_bytes())
    except OSError as error:
        raise UserError(f"{notebook} cannot be read: {error.strerror}.") from None
    except UnreadableError as problem:
        raise UserError(f"{notebook} {problem}") from None
    declared = _declared(checks, notebook, cell)
    warnings.simplefilter("ignore", SandboxWarning)  # it is the student's own code
    keys, handed = Keys.local(0), handed_at_home(checks)
    cells, files = restore(parsed, parsed).cells, _beside(notebook)
    session = Session(
        provider=open_provider("process", sandbox_limits(BUDGETS), datasets=at_home(notebook.parent)),
        cells=cells,
        files=files,
        budgets=BUDGETS,
        seed=keys.notebook,
        handed=handed.tensors(),
    )
    slow = {found.name for found in declared if found.trains is not None and not train}
    try:
        with suppress(StudentFault, Infrastructure):  # the checks meet the same trouble and say so
            session.play()
        only = None if cell is None else frozenset({cell})
        bench = Bench(session, keys, sources_of(cells, files), only=only, skip=frozenset(slow), handed=handed)
        results = run_checks([CheckFile(checks, public=True)], bench)
    finally:
        session.close()
        session.provider.close()
    return NotebookResults(results, len(slow), list(session.runs.values()))


def _declared(checks: Path, notebook: Path, cell: str | None) -> tuple[Check, ...]:
    if not checks.is_file():
        raise UserError(f"there is no {CHECKS} beside {notebook}; keep the files of the homework together.")
    declared = read_checks(checks, public=True)
    if cell is not None and all(found.cell != cell for found in declared):
        known = ", ".join(dict.fromkeys(found.cell for found in declared))
        raise UserError(f"{checks} holds no check of `{cell}`; there are {known}.")
    return declared


def _beside(notebook: Path) -> dict[str, bytes]:
    """The files that would be handed in with the notebook, by relative path."""
    files: dict[str, bytes] = {}
    left = FILES_BYTES
    for folder, below, names in os.walk(notebook.parent):
        below[:] = sorted(name for name in below if not name.startswith(".") and name not in ("__pycache__", BESIDE))
        for path in (Path(folder, name) for name in sorted(names)):
            name = path.relative_to(notebook.parent).as_posix()
            if path.name.startswith(".") or path.suffix in (".ipynb", ".zip") or name == CHECKS or not path.is_file():
                continue
            if not name.isprintable() or name.count("/") >= DEPTH:
                continue
            size = path.stat().st_size
            if len(files) < FILES and size <= min(FILE_BYTES, left):
                files[name] = path.read_bytes()
                left -= size
        if len(files) >= FILES:
            break
    return files
