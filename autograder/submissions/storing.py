"""A submission written as a folder, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC
from pathlib import Path

from autograder.homework.assignment import Assignment
from autograder.submission import Submission
from autograder.submissions.times import STAMP


def store(submission: Submission, assignment: Assignment, folder: Path) -> Path:
    """Write a submission as `<folder>/<student>/<assignment>/` (nbgrader's layout), whole or not at all."""
    return store_at(submission, assignment.template_path.name, folder / submission.student / assignment.name)


def store_at(submission: Submission, notebook: str, target: Path) -> Path:
    """Write a submission as the folder `target`, whole or not at all.

    Args:
        notebook: what its file is called there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        (fresh / notebook).write_bytes(submission.notebook_bytes)
        for name, data in submission.files.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_bytes(data)
        if submission.submitted is not None:
            moment = submission.submitted.astimezone(UTC)
            (fresh / STAMP).write_text(moment.strftime("%Y-%m-%d %H:%M:%S.%f UTC"))
        fresh.chmod(0o755)
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
        if target.exists():
            target.replace(old)
        fresh.replace(target)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return target
