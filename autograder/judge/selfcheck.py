"""`check("made-masks")` in a student's notebook: the public checks, on the notebook's own names, in this process.

And `course_data("ring")`, what a notebook is handed: here the example, in grading data drawn for each student.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from torch import Tensor

from autograder.errors import UserError
from autograder.homework.files import CHECKS
from autograder.judge.handing import handed_at_home
from autograder.judge.keys import Keys
from autograder.judge.runner import Bench, CheckFile, run_checks
from autograder.report import CheckResult, Measure
from autograder.student.local import LocalChannel

NBGRADER = "NBGRADER_EXECUTION"  # in the environment of a kernel that nbgrader starts


def check(cell: str) -> None:
    """Run the public checks of one task and print what holds and what does not.

    The checks are read from `checks.py` beside the notebook. They try a part of what the task says is checked; hidden
    checks try all of it, so passing here is a good sign and not a grade.

    Args:
        cell: the name of the task, as in the graded cell: "made-masks".

    Raises:
        AssertionError: a check does not pass, and nbgrader runs the notebook: its `validate` asks for nothing else.
    """
    caller = sys._getframe(1)
    try:
        results = public_results(Path.cwd() / CHECKS, cell, caller.f_globals)
    except UserError as problem:
        said, passed = str(problem), False
    else:
        said, passed = "\n".join(lines(results)), all(result.outcome == "passed" for result in results)
    if NBGRADER in os.environ and not passed:
        raise AssertionError(said)
    print(said)


def course_data(name: str) -> dict[str, Tensor]:
    """The data that the homework hands to its notebook under a name: tensors by name.

    At home they are an example, the same for everybody; in grading others of the same kind, drawn for each student.

    Raises:
        UserError: there is no `checks.py` beside the notebook, or it hands over nothing under this name.
    """
    path = Path.cwd() / CHECKS
    if not path.is_file():
        raise UserError(missing(path))
    handed = handed_at_home(path)
    if name not in handed:
        raise UserError(f"{path.name} hands over no data called {name!r}; there are {', '.join(handed) or 'none'}")
    return {key: value.clone() for key, value in handed[name].tensors.items()}


def missing(path: Path) -> str:
    """Why there is nothing to check with."""
    return f"no {path.name} beside the notebook in {path.parent}: keep the files of the homework together"


def public_results(path: Path, cell: str, namespace: dict[str, object]) -> list[CheckResult]:
    """Results of the public checks of `cell` on the names in `namespace`.

    Raises:
        UserError: there is no check file, or it holds no check of this cell.
    """
    if not path.is_file():
        raise UserError(missing(path))
    keys, handed = Keys.local(random.getrandbits(128)), handed_at_home(path)
    bench = Bench(LocalChannel(namespace), keys, only=frozenset({cell}), handed=handed)
    results = run_checks([CheckFile(path, public=True)], bench)
    if not results:
        raise UserError(f"{path.name} holds no check of `{cell}`: the name is the one in the graded cell")
    return results


def lines(results: list[CheckResult]) -> list[str]:
    """Results as a student reads them in a notebook."""
    text = []
    for result in results:
        word = {"passed": "passed", "partial": "in part"}.get(result.outcome, "FAILED")
        text.append(f"{word:8}{result.title}")
        if result.message:
            text.append(f"        {result.message}")
        text += [f"        {_figure(measure, result)}" for measure in result.measures]
        if result.where:
            text.append(f"        in {result.where}")
        if result.hint:
            text.append(f"        hint: {result.hint}")
    return text


def _figure(measure: Measure, result: CheckResult) -> str:
    """A figure of a trained model, and what it is worth; a message that tells the figure is not said again."""
    value = "no number" if measure.value is None else f"{measure.value:.3f} {measure.unit}".rstrip()
    worth = f"{result.fraction * result.points:.2f} of {result.points:g} point{'s' * (result.points != 1)}"
    return f"this is worth {worth}" if result.message else f"{measure.what} is {value}: {worth}"
