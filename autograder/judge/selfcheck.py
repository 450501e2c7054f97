"""`check("made-masks")` in a student's notebook: the public checks, on the notebook's own names, in this process."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from autograder.errors import UserError
from autograder.homework.files import CHECKS
from autograder.judge.keys import Keys
from autograder.judge.runner import Bench, CheckFile, run_checks
from autograder.report import CheckResult
from autograder.student.local import LocalChannel


def check(cell: str) -> None:
    """Run the public checks of one task and print what holds and what does not.

    The checks are read from `checks.py` beside the notebook. Hidden checks look at the same properties on other inputs,
    so passing here is a good sign and not a grade.

    Args:
        cell: the name of the task, as in the graded cell: "made-masks".
    """
    caller = sys._getframe(1)
    try:
        results = public_results(Path.cwd() / CHECKS, cell, caller.f_globals)
    except UserError as problem:
        print(problem)
    else:
        print("\n".join(lines(results)))


def public_results(path: Path, cell: str, namespace: dict[str, object]) -> list[CheckResult]:
    """Results of the public checks of `cell` on the names in `namespace`.

    Raises:
        UserError: there is no check file, or it holds no check of this cell.
    """
    if not path.is_file():
        raise UserError(f"no {path.name} beside the notebook in {path.parent}: keep the files of the homework together")
    bench = Bench(LocalChannel(namespace), Keys.local(random.getrandbits(128)), only=frozenset({cell}))
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
        if result.where:
            text.append(f"        in {result.where}")
        if result.hint:
            text.append(f"        hint: {result.hint}")
    return text
