"""A student's command: the public checks on a notebook, before handing it in."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from autograder.errors import Infrastructure, StudentFault, UserError


def check(
    notebook: Annotated[Path, typer.Argument(help="The notebook, with checks.py beside it.")],
    cell: Annotated[str | None, typer.Option("--only", help='One task, as in `check("made-masks")`.')] = None,
    train: Annotated[bool, typer.Option("--train", help="Also run checks that train a model.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results as JSON.")] = False,
) -> None:
    """Run a notebook and its public checks on this machine.

    The notebook runs in a process of its own, from top to bottom, as it will when it is graded.

    Example: `autograder check hw1.ipynb --only made-masks`
    """
    from autograder.homework import ipynb
    from autograder.homework.checkfile import read_checks
    from autograder.homework.restore import restore
    from autograder.judge.runner import Bench, CheckFile, run_checks
    from autograder.judge.session import Budgets, Session
    from autograder.sandbox import Limits, open_provider
    from autograder.sandbox.process import SandboxWarning
    from autograder.student.public import CHECKS, lines

    checks = notebook.parent / CHECKS
    try:
        parsed, _ = ipynb.parse(notebook.read_bytes())
    except OSError as error:
        raise UserError(f"{notebook} cannot be read: {error.strerror}.") from None
    except ipynb.UnreadableError as problem:
        raise UserError(f"{notebook} {problem}") from None
    if not checks.is_file():
        raise UserError(f"there is no {CHECKS} beside {notebook}; keep the files of the homework together.")
    declared = read_checks(checks, public=True)
    if cell is not None and all(found.cell != cell for found in declared):
        known = ", ".join(dict.fromkeys(found.cell for found in declared))
        raise UserError(f"{checks} holds no check of `{cell}`; there are {known}.")
    warnings.simplefilter("ignore", SandboxWarning)  # it is the student's own code
    session = Session(
        provider=open_provider("process", Limits(memory_mb=4096, wall_seconds=3600)),
        cells=restore(parsed, parsed).cells,
        files=_beside(notebook),
        budgets=Budgets(submission_seconds=3600),
        seed=0,
    )
    slow = {found.name for found in declared if found.trains is not None and not train}
    try:
        with suppress(StudentFault, Infrastructure):  # the checks meet the same trouble and say so
            session.play()
        only = None if cell is None else frozenset({cell})
        bench = Bench(session, 0, {}, frozenset(session.files), session.check, only=only, skip=frozenset(slow))
        results = run_checks([CheckFile(checks, public=True)], bench)
    finally:
        session.close()
        session.provider.close()
    if as_json:
        print("[" + ", ".join(result.model_dump_json(exclude={"figures", "detail"}) for result in results) + "]")
    else:
        console = Console(markup=False, highlight=False)
        for task in dict.fromkeys(result.cell for result in results):
            console.print(task, style="bold")
            for line in lines([result for result in results if result.cell == task]):
                console.print(f"  {line}")
        if slow:
            console.print(f"Not run: {len(slow)} checks that train a model; add --train to run them.")
        failed = [run for run in session.runs.values() if run.error is not None]
        for run in failed:
            console.print(f"cell {run.index} did not run to its end: {run.error}")
    if any(result.outcome != "passed" for result in results):
        raise typer.Exit(1)


def _beside(notebook: Path) -> dict[str, bytes]:
    """The files that would be handed in with the notebook."""
    from autograder.course.collect import FILE_BYTES, FILES, FILES_BYTES
    from autograder.student.public import CHECKS

    files: dict[str, bytes] = {}
    left = FILES_BYTES
    for path in sorted(notebook.parent.iterdir()):
        if path.name.startswith(".") or path.suffix in (".ipynb", ".zip") or path.name == CHECKS or not path.is_file():
            continue
        size = path.stat().st_size
        if len(files) < FILES and size <= min(FILE_BYTES, left):
            files[path.name] = path.read_bytes()
            left -= size
    return files
