"""What runs inside Gradescope: `python -m autograder.judge.gradescope_run SOURCE SUBMISSION RESULTS`.

The submitted notebook is played from top to bottom and the public checks are asked, as on a student's own machine.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from autograder.errors import AutograderError
from autograder.feedback.gradescope import as_test
from autograder.homework.files import CHECKS, CONFIG
from autograder.homework.settings import AssignmentConfig
from autograder.judge.notebook_check import check_notebook
from autograder.yamlfile import load_yaml

PUBLIC = "These are the public checks. Points of hidden checks and of theory are given by the course."


def results(source: Path, submission: Path) -> dict[str, Any]:
    """The results of one submission.

    Args:
        source: a released homework.
        submission: what was handed in.
    """
    config = load_yaml(source / CONFIG, AssignmentConfig)
    notebook = config.notebook or f"{config.name}.ipynb"
    with tempfile.TemporaryDirectory() as folder:
        played = Path(folder) / "played"
        shutil.copytree(submission, played, symlinks=True)
        for name in (CHECKS, *config.files):
            (played / name).unlink(missing_ok=True)
            shutil.copy(source / name, played / name)
        if not (played / notebook).is_file():
            given = ", ".join(sorted(path.name for path in submission.iterdir())) or "nothing"
            return _nothing(f"There is no notebook {notebook}; handed in: {given}.")
        try:
            found = check_notebook(played / notebook, train=True)
        except AutograderError as problem:
            return _nothing(str(problem))
    return {
        "tests": [as_test(check) for check in found.checks],
        "output": PUBLIC,
        "visibility": "visible",
        "stdout_visibility": "hidden",
    }


def _nothing(sentence: str) -> dict[str, Any]:
    return {"score": 0.0, "output": f"{sentence}\n{PUBLIC}", "visibility": "visible", "stdout_visibility": "hidden"}


if __name__ == "__main__":
    source, submission, target = map(Path, sys.argv[1:])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(results(source, submission), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
