"""The `autograder` command. Each user's commands live in a module of their own under `autograder/commands/`."""

from __future__ import annotations

import gc
import sys
import warnings

import typer

from autograder.commands import (
    again,
    clusters,
    exams,
    exporting,
    for_instructors,
    for_students,
    for_tas,
    formgrading,
    grades,
    machine,
    overriding,
    similar,
)
from autograder.errors import AutograderError
from autograder.version import VERSION

app = typer.Typer(
    name="autograder",
    help="Grade homework of a deep generative models course in hardened containers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
image = typer.Typer(help="The container image that submissions run in.", no_args_is_help=True)
app.add_typer(image, name="image", rich_help_panel="Machine")

cluster = typer.Typer(help="Machines that grade together.", no_args_is_help=True)
app.add_typer(cluster, name="cluster", rich_help_panel="Machine")

exam = typer.Typer(help="An oral exam: its questions, and who draws which.", no_args_is_help=True)
app.add_typer(exam, name="exam", rich_help_panel="Instructor")
marks = typer.Typer(help="Marks that people give.", no_args_is_help=True)
app.add_typer(marks, name="marks", rich_help_panel="TA")

export = typer.Typer(help="Points, reports and pages for other programs.", no_args_is_help=True)
app.add_typer(export, name="export", rich_help_panel="TA")

app.command(rich_help_panel="Student")(for_students.check)
app.command(rich_help_panel="TA")(for_tas.collect)
app.command(rich_help_panel="TA")(for_tas.grade)
app.command(rich_help_panel="TA")(again.regrade)
app.command(rich_help_panel="TA")(for_tas.show)
app.command(rich_help_panel="TA")(for_tas.scores)
app.command(rich_help_panel="TA")(grades.grades)
app.command(rich_help_panel="TA", context_settings=overriding.NEGATIVE)(overriding.override)
app.command(rich_help_panel="TA")(overriding.log)
app.command(rich_help_panel="TA")(similar.similar)
app.command(rich_help_panel="TA")(formgrading.formgrader)
app.command(rich_help_panel="Instructor")(for_instructors.init)
app.command(rich_help_panel="Instructor")(for_instructors.new)
app.command(rich_help_panel="Instructor")(for_instructors.release)
app.command(rich_help_panel="Instructor")(for_instructors.audit)
app.command(rich_help_panel="Instructor")(for_instructors.calibrate)
app.command(rich_help_panel="Instructor")(for_instructors.demo)
app.command(rich_help_panel="Machine")(machine.doctor)
app.command(rich_help_panel="Machine")(clusters.worker)
exam.command("init")(exams.exam_init)
exam.command("draw")(exams.exam_draw)
marks.command("import")(exams.marks_import)
export.command("csv")(exporting.export_csv)
export.command("jsonl")(exporting.export_jsonl)
export.command("mail")(exporting.export_mail)
export.command("canvas")(exporting.export_canvas)
export.command("moodle")(exporting.export_moodle)
export.command("feedback")(exporting.export_feedback)
export.command("gradescope")(exporting.export_gradescope)
image.command("build")(machine.image_build)
cluster.command("init")(clusters.cluster_init)
cluster.command("scheduler")(clusters.cluster_scheduler)


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        print(f"autograder {VERSION}")
        raise typer.Exit


def main() -> None:
    """Entry point: exit code 0 all well, 1 something did not pass, 2 used wrongly, 130 interrupted."""
    gc.set_threshold(100_000)  # a class is many small values that live on; to search them every 700 costs a fifth
    warnings.showwarning = lambda message, *_: print(f"note: {message}", file=sys.stderr)
    try:
        app()
    except AutograderError as error:
        print(f"autograder: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        file = error.filename2 or error.filename
        place = f" ({file})" if file else ""
        print(f"autograder: the machine refused: {error.strerror or error}{place}", file=sys.stderr)
        sys.exit(2)
