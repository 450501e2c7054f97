"""The `autograder` command. Each user's commands live in a module of their own under `autograder/commands/`."""

from __future__ import annotations

import sys
import warnings

import typer

from autograder import __version__
from autograder.commands import instructor, student, ta
from autograder.errors import AutograderError

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

app.command(rich_help_panel="Student")(student.check)
app.command(rich_help_panel="TA")(ta.collect)
app.command(rich_help_panel="TA")(ta.grade)
app.command(rich_help_panel="TA")(ta.show)
app.command(rich_help_panel="TA")(ta.scores)
app.command(rich_help_panel="Instructor")(instructor.init)
app.command(rich_help_panel="Instructor")(instructor.release)
app.command(rich_help_panel="Instructor")(instructor.audit)
app.command(rich_help_panel="Instructor")(instructor.demo)
app.command(rich_help_panel="Machine")(ta.doctor)
image.command("build")(ta.image_build)


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        print(f"autograder {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point: exit code 0 all well, 1 something did not pass, 2 used wrongly, 130 interrupted."""
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
