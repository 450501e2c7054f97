"""A student's command: the public checks on a notebook, before handing it in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


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
    from autograder.feedback.text import count
    from autograder.judge.notebook_check import check_notebook
    from autograder.judge.selfcheck import lines

    found = check_notebook(notebook, cell, train=train)
    if as_json:
        print("[" + ", ".join(result.model_dump_json(exclude={"figures", "detail"}) for result in found.checks) + "]")
    else:
        console = Console(markup=False, highlight=False)
        for task in dict.fromkeys(result.cell for result in found.checks):
            console.print(task, style="bold")
            for line in lines([result for result in found.checks if result.cell == task]):
                console.print(f"  {line}")
        if found.left_out:
            missed = count(found.left_out, "check")
            console.print(f"Not run: {missed} for which a model has to be trained; --train does that too.")
        for run in found.runs:
            if run.error is not None:
                console.print(f"the cell that begins with `{run.begins}` did not run to its end: {run.error}")
    if any(result.outcome != "passed" for result in found.checks):
        raise typer.Exit(1)
