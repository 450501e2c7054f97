"""An instructor's commands: init, new, release, audit, calibrate, demo."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from autograder.commands.for_tas import AsRootOption, CourseOption, JsonOption, Name, SandboxChoice
from autograder.errors import UserError

IMAGE_SECONDS, SUBMISSION_SECONDS = 240.0, 25.0  # of two cores; what progress begins with before anything is done


class DemoChoice(StrEnum):
    """Which sandbox; the submissions of a demonstration are ours."""

    auto = "auto"
    docker = "docker"
    process = "process"


AssignmentsOption = Annotated[Path, typer.Option(help="The folder of assignments.")]
ProfileOption = Annotated[str | None, typer.Option(help="Of assignment.yaml: other budgets and data.")]
DatasetOption = Annotated[
    list[str] | None, typer.Option("--dataset", help="Where a large data set lies, NAME=FOLDER; repeat for several.")
]
SolutionsOption = Annotated[Path, typer.Option(help="The folder of solutions.")]


def init(
    folder: Annotated[Path, typer.Argument(help="The course folder to make.")],
    name: Annotated[str, typer.Option(help="The course's name.")] = "Deep generative models",
    assignments: AssignmentsOption = Path("assignments"),
    solutions: SolutionsOption = Path("solutions"),
) -> None:
    """Make a course folder: settings, and a place for everything grading reads and writes.

    Example: `autograder init dgm-2026`
    """
    from autograder.course.course import init_course
    from autograder.records.nbgrader_config import configure

    course = init_course(folder, name=name, assignments=assignments, solutions=solutions)
    configure(course)
    print(course.root)


def new(
    name: Name,
    notebook: Annotated[Path | None, typer.Option("--from", help="An existing notebook to take in.")] = None,
    cells: Annotated[Path | None, typer.Option(help="What its cells are for; without it a proposal is made.")] = None,
    assignments: AssignmentsOption = Path("assignments"),
    solutions: SolutionsOption = Path("solutions"),
) -> None:
    """Begin a homework: its files, filled with a small worked example whose audit is clean.

    With `--from notebook.ipynb` first a proposal, `hw7-cells.yaml`, of what the notebook's cells are for; look it
    through, and give it back with `--cells hw7-cells.yaml` to make the homework of the notebook.

    Example: `autograder new hw7`
    """
    from autograder.authoring.intake import take_in
    from autograder.authoring.new import new_homework
    from autograder.authoring.proposal import propose
    from autograder.homework.files import HomeworkFiles

    homework = HomeworkFiles(name, assignments, solutions)
    talk = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    if cells is not None and notebook is None:
        raise UserError("--cells says what the cells of a notebook are for; name the notebook with --from.")
    if notebook is not None and cells is None:
        mapping = Path(f"{name}-cells.yaml")
        if mapping.exists():
            raise UserError(f"{mapping} exists already; use it with `--cells {mapping}`, or remove it for a new one.")
        mapping.write_text(propose(notebook), encoding="utf-8")
        print(mapping)
        talk.print(f"Look it through, then: autograder new {name} --from {notebook} --cells {mapping}")
        return
    written = new_homework(homework) if notebook is None or cells is None else take_in(homework, notebook, cells)
    for path in written:
        print(path)
    if notebook is not None:
        talk.print("Write the checks of both checks.py and the mistakes of wrong.yaml; until then the audit fails.")
    talk.print(f"Is it fair and sharp? autograder audit {name} --seeds 3")


def release(name: Name, course: CourseOption = Path()) -> None:
    """Cut the answers from the solution and make what students get: a folder and a zip.

    Refuses if anything hidden would leave.

    Example: `autograder release hw1`
    """
    from autograder.authoring.release import release as make
    from autograder.commands.nbgrader_button import enter_homework
    from autograder.course.course import load_course

    loaded = load_course(course)
    print(make(loaded, name))
    enter_homework(loaded, name)


def audit(
    name: Name,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of the checks per variant.")] = 20,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Variants at a time.")] = None,
    sandbox: Annotated[SandboxChoice, typer.Option(help="Where variants run.")] = SandboxChoice.docker,
    no_walls_as_root: AsRootOption = False,
    only: Annotated[list[str] | None, typer.Option(help="Only this variant; repeat for several.")] = None,
    retrain: Annotated[bool, typer.Option(help="Run the notebook, training included, anew for every seed.")] = False,
    thorough: Annotated[bool, typer.Option(help="Also what wrong variants keep, under every seed.")] = False,
    anew: Annotated[bool, typer.Option(help="Grade also what an earlier audit has and nothing changed for.")] = False,
    profile: ProfileOption = None,
    dataset: DatasetOption = None,
    assignments: AssignmentsOption = Path("assignments"),
    solutions: SolutionsOption = Path("solutions"),
    as_json: JsonOption = False,
) -> None:
    """Grade submissions whose grade is known: is the assignment fair and sharp?

    The solution and every right variant must earn all automatic points, the blank template and every cheat none, every
    wrong variant must lose exactly the cells it breaks. Exit code 1 if one does not. What a wrong variant keeps is
    looked at under the first three seeds, what it breaks under all of them. A variant is graded again only if
    something has changed that could move its marks, so an audit that was stopped goes on.

    Example: `autograder audit hw1 --seeds 20 --jobs 2`
    """
    from autograder.authoring.audit import run_audit
    from autograder.commands.matrix import print_audit, print_audit_json
    from autograder.homework.files import HomeworkFiles

    homework = HomeworkFiles(name, assignments, solutions, profile, _datasets(dataset))
    result = run_audit(
        homework, seeds=seeds, jobs=jobs, sandbox=sandbox.value, as_root=no_walls_as_root, only=only, retrain=retrain,
        thorough=thorough, anew=anew, say=Console(stderr=True, markup=False, highlight=False).print,
    )  # fmt: skip
    (print_audit_json if as_json else print_audit)(result)
    if result.findings:
        raise typer.Exit(1)


def _datasets(given: list[str] | None) -> tuple[tuple[str, Path], ...]:
    """`NAME=FOLDER` as pairs. Raises UserError for anything else."""
    pairs = []
    for text in given or []:
        name, sign, folder = text.partition("=")
        if not (name and sign and folder):
            raise UserError(f"--dataset takes NAME=FOLDER, got {text!r}.")
        pairs.append((name, Path(folder)))
    return tuple(pairs)


def calibrate(
    name: Name,
    seeds: Annotated[int, typer.Option(min=4, help="Trainings of the solution; of all else half, at least 4.")] = 16,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Trainings at a time.")] = None,
    sandbox: Annotated[SandboxChoice, typer.Option(help="Where they run.")] = SandboxChoice.docker,
    no_walls_as_root: AsRootOption = False,
    only: Annotated[list[str] | None, typer.Option(help="Only this one beside the solution; repeat.")] = None,
    profile: ProfileOption = None,
    dataset: DatasetOption = None,
    assignments: AssignmentsOption = Path("assignments"),
    solutions: SolutionsOption = Path("solutions"),
) -> None:
    """Train the solution, the right variants and honest weak trainings: are floors and targets where they belong?

    Prints what each reached, proposes lines under which the solution earns everything with probability 0.999, names
    every honest training that is accused of something, and writes `calibration.json` beside the solution. Exit code 1
    if there is anything to mend. It needs no course and no release.

    Example: `autograder calibrate hw1 --seeds 24 --jobs 2`
    """
    from autograder.authoring.calibrate import run_calibration
    from autograder.authoring.calibrated import findings, save
    from autograder.commands.calibration import print_calibration
    from autograder.homework.files import HomeworkFiles

    homework = HomeworkFiles(name, assignments, solutions, profile, _datasets(dataset))
    result = run_calibration(
        homework, seeds=seeds, jobs=jobs, sandbox=sandbox.value,
        as_root=no_walls_as_root, only=only or (), say=Console(stderr=True, markup=False, highlight=False).print,
    )  # fmt: skip
    print_calibration(result)
    if only:
        print("Not written to a file: not everything was trained.")
    else:
        print(f"Written to {save(result, sandbox.value)}")
    if findings(result):
        raise typer.Exit(1)


def demo(
    folder: Annotated[Path, typer.Argument(help="The course folder to make.")] = Path("demo"),
    name: Annotated[str, typer.Option("--assignment", help="The homework to grade.")] = "hw1",
    sandbox: Annotated[DemoChoice, typer.Option(help="Where submissions run.")] = DemoChoice.auto,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Submissions at a time.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole class instead of one of each kind.")] = False,
    assignments: AssignmentsOption = Path("assignments"),
    solutions: SolutionsOption = Path("solutions"),
) -> None:
    """Play a whole homework with a made-up class: release, hand in, grade, scores, pages.

    The class has one submission of each kind, about ten; `--all` plays every right answer and more wrong ones.

    Example: `autograder demo demo --all`
    """
    talk = Console(stderr=True, markup=False, highlight=False)
    talk.print("A course, a released homework and a class of submissions, graded: this takes some minutes.")
    from autograder.authoring.demo_class import demo_class, write_class
    from autograder.authoring.release import release as make
    from autograder.authoring.variants import load_variants
    from autograder.commands.progress import live, one_line, summary
    from autograder.course.course import FILE, init_course, load_course
    from autograder.grading.batch import grade_course
    from autograder.grading.executor import Trouble
    from autograder.grading.results import Options
    from autograder.homework.files import HomeworkFiles
    from autograder.report import Report
    from autograder.sandbox import SandboxKind, answering, image
    from autograder.submissions.person import Person

    kind: SandboxKind = answering() if sandbox is DemoChoice.auto else SandboxChoice(sandbox.value).value
    if kind == "docker":
        talk.print("A container engine answers. The image that submissions run in is built if it is not there yet.")
        with one_line(talk, "image", IMAGE_SECONDS) as say:
            image.build(say=say)
        talk.print("Every submission runs in a container of its own.")
    else:
        talk.print("No container engine answers (see `autograder doctor`). Submissions run in the process")
        talk.print("sandbox, which is no security boundary, and those that could harm this machine are left out.")
    homework = HomeworkFiles(name, assignments, solutions)
    people = demo_class(homework, load_variants(homework), harmful=kind == "docker", everything=everything)
    if (folder / FILE).exists():
        course = load_course(folder)
        if course.people.keys() != people.keys():
            raise UserError(f"{folder} holds another course; name a new folder for the demonstration.")
    else:
        students = [Person(id=student, name=student.capitalize()) for student in people]
        course = init_course(folder, assignments=assignments, solutions=solutions, students=students)
    talk.print(f"Released to students: {make(course, name)}")
    archive = folder / f"{name}-export.zip"
    write_class(people, f"{name}.ipynb", archive)
    talk.print(f"Handed in by {len(people)} students: {archive}")
    lost: list[str] = []

    def told(student: str, result: Report | Trouble) -> str:
        part = people[student]
        if not part.right or (isinstance(result, Report) and result.earned == result.automatic_points):
            return part.story
        lost.append(student)
        return f"{part.story}   <- A RIGHT ANSWER LOST POINTS"

    workers = jobs or len(os.sched_getaffinity(0))
    with live(told, len(people) * SUBMISSION_SECONDS / workers) as events:
        batch = grade_course(course, name, archive, Options(sandbox=kind, as_root=True, jobs=jobs), events)
    summary(course, batch)
    talk.print(f"Right answers that lost points: {', '.join(lost) or 'none'}.")
    if not everything:
        talk.print("This was one submission of each kind; `autograder demo --all` plays the whole class.")
