"""`check("…")` in a notebook imports nothing but what the package declares for everybody."""

from __future__ import annotations

import subprocess
import sys

NOT_DECLARED = ("yaml", "nbformat", "nbgrader", "typer", "rich", "IPython", "docker", "jinja2", "matplotlib", "sklearn")


def test_check_and_data_work_without_what_only_graders_have() -> None:
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in NOT_DECLARED)
    code = f"import sys\n{blocked}from autograder import check, course_data, dataset\nimport autograder.checks"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
