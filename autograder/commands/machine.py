"""Commands for whoever looks after the machine: doctor, image build."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from autograder.commands.for_tas import CourseOption, JsonOption


def doctor(
    as_json: JsonOption = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="First remove what killed graders left behind.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove older images and the cache of builds.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --prune: do not ask.")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Write what a course folder lacks for nbgrader.")] = False,
    course: CourseOption = Path(),
) -> None:
    """Say what is missing on this machine, and the command that fixes it.

    In a course folder it says as well whether nbgrader's own commands grade as ours do; `--fix` sees to that. With
    `--prune` it says instead what takes room on the engine's disk, how much, and removes it when you agree.

    Example: `autograder doctor`
    """
    import json

    from autograder import sandbox
    from autograder.commands.doctor import examine, guarded, is_ready, nbgrader_config
    from autograder.course.course import FILE, load_course
    from autograder.records.nbgrader_config import mend

    if fix:
        print(mend(load_course(course)))
    if sweep:
        sandbox.sweep()
    if prune:
        _prune(yes)
        return
    findings = examine()
    if (course / FILE).is_file():
        findings.append(guarded(nbgrader_config, load_course(course)))
    if as_json:
        print(json.dumps([finding.as_dict() for finding in findings], indent=1))
    else:
        console = Console(markup=False, highlight=False)
        for finding in findings:
            style = {"ok": "green", "missing": "red"}.get(finding.status, "yellow")
            console.print(f"{finding.status:8}{finding.what:12}{finding.says}", style=style, soft_wrap=True)
            if finding.fix:
                console.print(f"        fix: {finding.fix}", soft_wrap=True)
    if not is_ready(findings):
        raise typer.Exit(1)


def _prune(yes: bool) -> None:
    """Say what can go, ask, and remove it."""
    import sys

    from autograder.errors import UserError
    from autograder.feedback import text
    from autograder.sandbox.engine import connect
    from autograder.sandbox.prune import removable, remove

    with connect() as client:
        found = removable(client)
        for one in found:
            print(f"{text.size(one.size):>10}  {one.says}")
        if not found:
            print("Nothing to remove: there are no older images and no cache of builds.")
            return
        print(f"{text.size(sum(one.size for one in found)):>10}  in all, at most: images may share parts")
        if not yes and not sys.stdin.isatty():
            raise UserError("nothing was removed: there is nobody to ask; add `--yes` to remove it.")
        if yes or typer.confirm("Remove it?"):
            print(f"{text.size(remove(client, found))} freed.")


def image_build(
    base: Annotated[str | None, typer.Option(help="Base image with Python, such as python:3.11-slim.")] = None,
    python: Annotated[str | None, typer.Option(help="Version of Python, such as 3.12.")] = None,
    cuda: Annotated[str | None, typer.Option(help="torch built for CUDA, such as cu126; CUDA comes with it.")] = None,
    wheels: Annotated[str | None, typer.Option(help="An index or a folder that has that torch.")] = None,
    force: Annotated[bool, typer.Option(help="Build even if nothing changed.")] = False,
    course: CourseOption = Path(),
    homework: Annotated[str | None, typer.Option(help="With the packages that this homework names as well.")] = None,
    assignments: Annotated[Path, typer.Option(help="Its folder, where there is no course.")] = Path("assignments"),
) -> None:
    """Build the image that submissions run in, with the packages that course.yaml names under `image: requirements:`.

    A homework whose assignment.yaml names `packages` has an image of its own: `--homework hw7` builds that one.

    Without a base it is made from this machine's Debian packages. What is named here and not in course.yaml is known to
    this command alone: `cuda` has to stand there for gradings to use that image.

    Example: `autograder image build --base python:3.11-slim`
    """
    import re

    from autograder.course.course import FILE, load_course
    from autograder.errors import UserError
    from autograder.homework.files import HomeworkFiles
    from autograder.homework.settings import AssignmentConfig
    from autograder.sandbox import image
    from autograder.sandbox.settings import CUDA, ImageSettings
    from autograder.yamlfile import load_yaml

    console = Console(stderr=True, markup=False, highlight=False)
    settings = ImageSettings()
    if (course / FILE).exists():
        loaded = load_course(course)
        settings, assignments = loaded.config.image, loaded.assignments_dir
    if cuda is not None and not re.fullmatch(CUDA, cuda):
        raise UserError(f"`--cuda {cuda}` is no build of torch; name one such as cu126.")
    settings = settings.model_copy(update={"cuda": cuda or settings.cuda, "wheels": wheels or settings.wheels})
    packages: list[str] = []
    if homework is not None:
        packages = load_yaml(HomeworkFiles(homework, assignments, None).config, AssignmentConfig).packages
    built = image.build(
        base or settings.base,
        python=python or settings.python,
        requirements=[*settings.packages, *packages],
        force=force,
        pip_options=settings.pip_options,
        say=console.print,
    )
    console.print("The image is up to date." if built.reused else "The image is built.")
    print(built.digest)
