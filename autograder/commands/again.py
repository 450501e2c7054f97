"""A TA's command `regrade`: what is stale is graded again, and what came of it is published."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from autograder.commands.for_tas import (
    AsRootOption,
    CertificatesOption,
    ClusterOption,
    CourseOption,
    Name,
    PlainOption,
    SandboxChoice,
)


def regrade(
    name: Name,
    course: CourseOption = Path(),
    publish: Annotated[bool, typer.Option("--publish", help="Let the new marks count, and write pages anew.")] = False,
    sandbox: Annotated[
        SandboxChoice | None, typer.Option(help="Where submissions run.", show_default="course.yaml")
    ] = None,
    no_walls_as_root: AsRootOption = False,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Submissions at a time.")] = None,
    gpus: Annotated[str | None, typer.Option(help="Device ids, as in `0,1`: each sandbox has one of them.")] = None,
    profile: Annotated[str | None, typer.Option(help="Of assignment.yaml: other budgets and data.")] = None,
    student: Annotated[list[str] | None, typer.Option(help="Only this student; repeat for several.")] = None,
    cluster: ClusterOption = None,
    certificates: CertificatesOption = None,
    no_tls: PlainOption = False,
) -> None:
    """Grade again what is stale, and say which marks would move; with `--publish` they do.

    A mark is stale when something that made it has changed: what its check reaches, its thresholds, the judge, the
    packages of the sandbox. Only stale checks are run. `grade --dry-run` says beforehand which, and what it will take.

    Example: `autograder regrade hw1 --publish`
    """
    from autograder.commands.progress import live, summary
    from autograder.course.course import load_course
    from autograder.grading.batch import grade_course
    from autograder.grading.cluster import reach
    from autograder.grading.results import Options

    loaded = load_course(course)
    options = Options(
        sandbox=sandbox.value if sandbox else None, as_root=no_walls_as_root, jobs=jobs, gpu=gpus, profile=profile,
        students=frozenset(student or []), only_again=True, publish=publish,
        cluster=reach(loaded, cluster, certificates, plain=no_tls),
    )  # fmt: skip
    try:
        with live() as events:
            batch = grade_course(loaded, name, None, options, events)
    except KeyboardInterrupt:
        print("interrupted; start the same command again and it goes on where it stopped", file=sys.stderr)
        raise typer.Exit(130) from None
    summary(loaded, batch)
    if not batch.moves and not batch.states("proposed"):
        print(f"No mark of {name} {'moved' if publish else 'would move'}.")
    if batch.infrastructure:
        raise typer.Exit(1)
