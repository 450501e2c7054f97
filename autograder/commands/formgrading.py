"""`autograder formgrader`: nbgrader's formgrader on a course folder, for whoever grades by hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from autograder.commands.for_tas import CourseOption
from autograder.errors import UserError

HERE = "127.0.0.1"
EXTENSION = "nbgrader.server_extensions.formgrader"


def formgrader(
    course: CourseOption = Path(),
    port: Annotated[int, typer.Option(help="Where it listens, on this machine alone; 0 takes a free one.")] = 8888,
) -> None:
    """Start formgrader on this course and print its address; Ctrl-C ends it.

    Rubrics and model answers stand below the answers. What is given there, points and comments, reaches pages,
    `scores.csv` and `show` with `autograder scores`, without grading again.

    Example: `autograder formgrader --course dgm-2026`
    """
    from jupyter_server.serverapp import ServerApp

    from autograder.course.course import load_course
    from autograder.records.nbgrader_config import CONFIG, is_configured

    loaded = load_course(course)
    if not is_configured(loaded):
        raise UserError(
            f"{loaded.root / CONFIG} does not say that submissions run in the sandbox, and formgrader's button runs "
            f"them here; `autograder doctor --fix --course {loaded.root}` writes it."
        )
    root = loaded.root.resolve()
    os.chdir(root)  # nbgrader reads its settings there
    server = ServerApp.instance(
        ip=HERE,
        port=port,
        root_dir=str(root),
        open_browser=False,
        allow_root=True,
        terminals_enabled=False,
        jpserver_extensions={EXTENSION: True},
    )
    server.initialize(argv=[], find_extensions=False)
    address = f"http://{HERE}:{server.port}/formgrader?token={server.identity_provider.token}"
    server.io_loop.add_callback(lambda: print(address, flush=True))  # it listens by then
    server.start()
