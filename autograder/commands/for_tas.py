"""A TA's commands: collect, grade, show, scores."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from autograder.errors import UserError
from autograder.homework.files import CONFIG

if TYPE_CHECKING:
    from autograder.course.course import Course

CourseOption = Annotated[Path, typer.Option("--course", "-c", help="The course folder.", show_default="this folder")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Name = Annotated[str, typer.Argument(help="The homework: hw1.")]
TimesOption = Annotated[
    Path | None, typer.Option("--times", help="Moodle's grading worksheet, or a table of ids and times.")
]


AsRootOption = Annotated[
    bool, typer.Option("--no-walls-as-root", help="Let the process sandbox run submissions as root.")
]


ClusterOption = Annotated[
    str | None,
    typer.Option("--cluster", help="Grade on a cluster: its scheduler's address, or `local` for this machine."),
]
CertificatesOption = Annotated[
    Path | None, typer.Option(help="For a cluster: what `autograder cluster init` made.", show_default="course.yaml")
]
PlainOption = Annotated[
    bool, typer.Option("--no-tls", help="Talk to a cluster unencrypted: whoever reaches its port may run code.")
]


class SandboxChoice(StrEnum):
    """Which sandbox; there is none in the place of the one that is named."""

    docker = "docker"
    process = "process"


def note_deadlines(course: Course) -> None:
    """Say whether course.yaml gives a deadline to what is no homework: a misspelt one would hold for nobody."""
    there = {path.parent.name for path in course.assignments_dir.glob(f"*/{CONFIG}")}
    for name in sorted(course.config.due.keys() - there):
        known = f"there are {', '.join(sorted(there))}" if there else "there are none yet"
        print(f"note: `due:` of course.yaml names `{name}`, and no homework is called so ({known})", file=sys.stderr)


def collect(
    name: Name,
    source: Annotated[Path, typer.Argument(help="A folder, a zip or a notebook.")],
    course: CourseOption = Path(),
    times: TimesOption = None,
) -> None:
    """Store what a class handed in under `submitted/`.

    Takes a folder in nbgrader's layout or of its exchange, what Moodle, Canvas, Gradescope, GitHub Classroom and Google
    Classroom export, a folder of notebooks or zips named by student, a zip of these, or one notebook. What cannot be
    used is named with a reason; the rest goes on.

    Example: `autograder collect hw1 export.zip`
    """
    from autograder.commands.progress import matches
    from autograder.course.course import load_course
    from autograder.feedback.text import blamed, count
    from autograder.grading.alone import alone, remove_halves
    from autograder.grading.batch import take_in
    from autograder.homework.assignment import load_assignment
    from autograder.records.record import Record

    loaded = load_course(course)
    assignment = load_assignment(loaded.files(name))
    with alone(loaded), Record(loaded.root, name) as record:
        remove_halves(loaded, name)
        take_in(loaded, assignment, record, source, times)
        states = list(record.states())
    rejected = {state.who: state.rejected for state in states if state.rejected is not None}
    stored = len(list(loaded.submitted_dir.glob(f"*/{name}")))
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"{count(stored, 'submission')} of {name} {'lies' if stored == 1 else 'lie'} under {loaded.submitted_dir}."
    )
    for line in matches(states):
        console.print(line)
    for who, sentence in rejected.items():
        console.print(f"Rejected: {blamed(who, sentence)}")
    if rejected:
        raise typer.Exit(1)


def grade(
    name: Name,
    source: Annotated[Path | None, typer.Argument(help="Collect this first; by default grade what is there.")] = None,
    course: CourseOption = Path(),
    sandbox: Annotated[
        SandboxChoice | None, typer.Option(help="Where submissions run.", show_default="course.yaml")
    ] = None,
    no_walls_as_root: AsRootOption = False,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Submissions at a time.")] = None,
    gpus: Annotated[str | None, typer.Option(help="Device ids, as in `0,1`: each sandbox has one of them.")] = None,
    profile: Annotated[str | None, typer.Option(help="Of assignment.yaml: other budgets and data.")] = None,
    force: Annotated[bool, typer.Option(help="Run unchanged submissions again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, why, and what it takes.")] = False,
    student: Annotated[list[str] | None, typer.Option(help="Only this student; repeat for several.")] = None,
    times: TimesOption = None,
    cluster: ClusterOption = None,
    certificates: CertificatesOption = None,
    no_tls: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """Grade a class: run every submission in a sandbox, check it, write gradebook, scores and pages.

    Submissions run in containers, or nowhere: without an engine the command says what is missing. `--sandbox process`
    runs them without walls. Of submissions that were graded before only stale checks are run again; a mark that would
    move stays until `autograder regrade --publish`. Interrupt it at any moment and start it again.

    Example: `autograder grade hw1 export.zip --jobs 4`
    """
    import json

    from autograder.commands.progress import live, summary
    from autograder.course.course import load_course
    from autograder.grading.batch import grade_course
    from autograder.grading.cluster import reach
    from autograder.grading.results import Options

    loaded = load_course(course)
    note_deadlines(loaded)
    options = Options(
        sandbox=sandbox.value if sandbox else None, as_root=no_walls_as_root, jobs=jobs, gpu=gpus, force=force,
        students=frozenset(student or []), profile=profile, times=times,
        cluster=reach(loaded, cluster, certificates, plain=no_tls),
    )  # fmt: skip
    if dry_run:
        from autograder.commands.ahead import say_plan

        if source is not None:
            raise UserError("--dry-run looks at what is collected; `autograder collect` it first.")
        say_plan(course, name, options)
        return
    try:
        with live() as events:
            batch = grade_course(loaded, name, source, options, events)
    except KeyboardInterrupt:
        print("interrupted; start the same command again and it goes on where it stopped", file=sys.stderr)
        raise typer.Exit(130) from None
    if as_json:
        rows = [{"student": r.student, "points": r.earned, "infrastructure": r.infrastructure} for r in batch.briefs()]
        print(json.dumps({"graded": rows, "rejected": batch.rejected, "sandbox": batch.sandbox}, indent=1))
    else:
        summary(loaded, batch)
    if batch.rejected or batch.infrastructure:
        raise typer.Exit(1)


def show(
    name: Name,
    student: Annotated[str | None, typer.Argument(help="One student; by default the whole class.")] = None,
    course: CourseOption = Path(),
    ta: Annotated[bool, typer.Option("--ta/--student", help="With or without what only a TA may read.")] = True,
    rubric: Annotated[bool, typer.Option(help="Rubrics and model answers of what is graded by hand.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a graded submission, or the table of a class, or with `--rubric` how its theory is graded.

    Example: `autograder show hw1 ada`
    """
    from autograder.commands.show import show_class, show_report, show_rubrics, show_state
    from autograder.course.course import load_course
    from autograder.feedback.text import line
    from autograder.homework.assignment import load_assignment
    from autograder.judge.rubrics import rubrics_of
    from autograder.records.pages import take_over_from_book
    from autograder.records.record import Record
    from autograder.records.reports import load_reports
    from autograder.records.standing import remarks_of
    from autograder.records.state import State

    loaded = load_course(course)
    rubrics = {}
    if rubric and (ta or not student):
        assignment = load_assignment(loaded.files(name))
        rubrics = rubrics_of(assignment)
        if not student:
            show_rubrics(assignment, rubrics if ta else {})
            return
    with Record(loaded.root, name) as record:
        title = record.title
        states = [state for state in record.states() if student in (None, state.who)]
        graded = [state.who for state in states if state.report is not None]
        if as_json:
            reports = load_reports(loaded, name, graded if student is None or graded else [student])
            print("[" + ",\n".join(report.model_dump_json() for report in reports) + "]")
        elif student is None and (graded or states):
            rejected = {state.who: state.rejected for state in states if state.rejected is not None}
            show_class(record.briefs(graded), rejected, title)
        elif student is not None and graded:
            take_over_from_book(loaded, record, record.homeworks().get(name, {}))
            report, remarks = load_reports(loaded, name, graded)[0], remarks_of(loaded, record, student)
            show_state(states[0], title, staff=ta)
            show_report(report, title, audience="ta" if ta else "student", rubrics=rubrics, remarks=remarks)
        elif student is not None:
            said = remarks_of(loaded, record, student).lines(staff=ta)
            if not states and not said:
                raise UserError(f"nothing of {name} is known of {student}; collect or grade it first.")
            show_state(states[0] if states else State(student), title, staff=ta)
            print("\n".join(map(line, said)), end="\n" * bool(said))
        else:
            raise UserError(f"nothing of {name} is graded yet; run `autograder grade {name}`.")


def scores(course: CourseOption = Path()) -> None:
    """Write scores.csv and the pages anew with what was graded by hand; nothing is graded again.

    Points and comments that were given in formgrader reach the students' pages, the class page and `show`.

    Example: `autograder scores --course dgm-2026`
    """
    from autograder.course.course import load_course
    from autograder.errors import AutograderError
    from autograder.grading.alone import alone, remove_halves
    from autograder.homework.assignment import load_assignment
    from autograder.records.pages import refresh
    from autograder.records.record import Record
    from autograder.records.scores import write_scores

    loaded = load_course(course)
    note_deadlines(loaded)
    with Record(loaded.root, "") as record:
        homeworks = record.homeworks()
        if not homeworks:
            raise UserError(f"nothing is graded yet in {loaded.root}.")
    with alone(loaded), Record(loaded.root, "") as record:
        for name in homeworks:
            remove_halves(loaded, name)
        print(write_scores(loaded, record))
    for name in homeworks:
        try:
            assignment = load_assignment(loaded.files(name))
        except AutograderError as problem:  # half-edited: it hinders no other
            print(f"The pages of {name} stay as they were: {problem}", file=sys.stderr)
            continue
        with alone(loaded), Record(loaded.root, name) as record:
            refresh(loaded, assignment, record)
