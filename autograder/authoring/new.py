"""Begin a homework: the files of one, filled with a small worked example whose audit is clean.

assignments/hw7/assignment.yaml     title, points, limits
assignments/hw7/checks.py           public checks
assignments/hw7/hw7.ipynb           the template, made from the solution
solutions/hw7/hw7.py                the solution notebook, a percent script
solutions/hw7/checks.py             hidden checks
solutions/hw7/variants/             right answers, wrong ones, a cheat
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from autograder.authoring.template import write_template
from autograder.errors import UserError
from autograder.homework.files import CHECKS, CONFIG, VARIANTS, HomeworkFiles
from autograder.report import write_atomically

EXAMPLE = Path(__file__).with_name("example")  # not in the wheels that releases carry


def new_homework(homework: HomeworkFiles) -> list[Path]:
    """Write the files of a homework that begins as the worked example.

    Raises:
        UserError: there is such a homework already, or this installation has no example.
    """
    if not EXAMPLE.is_dir():
        raise UserError(
            "this installation came with a released homework and has no example. Make the course's own wheel where its "
            "sources are (`pip wheel --no-deps --wheel-dir dist .`) and install that, or begin from a notebook: --from."
        )
    parts = {path.name.removesuffix(".txt"): path.read_text(encoding="utf-8") for path in EXAMPLE.glob("*.txt")}
    solution, public, hidden = (parts.pop(f"{name}.py") for name in ("solution", "public", "hidden"))
    return write_homework(homework, solution, public, hidden, parts.pop(CONFIG), parts)


def write_homework(
    homework: HomeworkFiles, solution: str, public: str, hidden: str, config: str, variants: Mapping[str, str]
) -> list[Path]:
    """Write a homework's files, `@NAME@` in them being its name, and the template made from them.

    Returns:
        their paths, the template's last.

    Raises:
        UserError: there is such a homework already, or the solution is not sound; then nothing is left behind.
    """
    for folder in (homework.folder, homework.hidden):
        if folder.exists():
            raise UserError(f"{folder} exists already; `autograder new` begins a homework and overwrites none.")
    files = {
        homework.config: config,
        homework.public_checks: public,
        homework.solution: solution,
        homework.hidden / CHECKS: hidden,
        **{homework.hidden / VARIANTS / name: text for name, text in variants.items()},
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.replace("@NAME@", homework.name))
    try:
        return [*files, write_template(homework)]
    except UserError:
        for folder in (homework.folder, homework.hidden):
            shutil.rmtree(folder)
        raise
