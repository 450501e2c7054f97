"""Release a homework: make the template from the solution and hand out what is public, and nothing else.

release/hw1/hw1.ipynb           the solution with the answers cut out
release/hw1/checks.py           the public checks
release/hw1/assignment.yaml     title, points, budgets, training
release/hw1/digits.txt          data that the public checks hand to the notebook, of a homework that has such `files`
release/hw1/README.md           how to work on it
release/hw1/dgm_autograder-….whl  what `check("…")` needs
release/hw1.zip                 the same, to put on the course page
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from pathlib import Path

import yaml

from autograder.authoring.leaks import find_leaks
from autograder.authoring.package import build_wheel
from autograder.authoring.secrets import SHOWN, read_secrets
from autograder.authoring.template import write_template
from autograder.course.course import Course
from autograder.errors import UserError
from autograder.homework.assignment import Assignment, load_assignment
from autograder.homework.files import CHECKS, CONFIG
from autograder.homework.first_cell import WHEEL
from autograder.judge.model_answers import REPEATS
from autograder.judge.rubrics import rubrics_of
from autograder.records.gradebook import Book
from autograder.report import write_atomically

PUBLIC_KEYS = ("name", "title", "points", "notebook", "budgets", "files", "training", "datasets", "packages")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same files give the same zip


def release(course: Course, name: str) -> Path:
    """Write `release/<name>/` and its zip, enter the homework in the gradebook, and return the folder.

    Raises:
        UserError: the assignment is not sound, or something hidden would leave; then nothing is written.
    """
    write_template(course.files(name), f"{course.config.release_url}/{name}" if course.config.release_url else "")
    assignment = load_assignment(course.files(name))
    files = released_files(assignment)
    folder = course.release_dir / name
    _write_folder(folder, files)
    write_atomically(course.release_dir / f"{name}.zip", pack(name, files))
    with Book(course.gradebook_url) as book:
        book.add_students(course.people)
        book.ensure_assignment(assignment)
    return folder


def released_files(assignment: Assignment) -> dict[str, bytes]:
    """What a student gets, by file name. Raises UserError naming file and line if something hidden is in it."""
    rubrics_of(assignment)  # one that is not sound is said before the class has the homework
    notebook = assignment.template_path.name
    config = assignment.config.model_dump(exclude_defaults=True, include=set(PUBLIC_KEYS))
    files = {
        notebook: assignment.template_path.read_bytes(),
        CHECKS: assignment.public_checks.read_bytes(),
        CONFIG: yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode(),
        "README.md": _read_me(assignment).encode(),
        WHEEL: build_wheel(),
        **{name: path.read_bytes() for name, path in assignment.data_files.items()},
    }
    leaks = list(find_leaks(files, read_secrets(assignment.files.solution, assignment.files.hidden_files())))
    if not leaks:
        return files
    if any("part of an answer" in leak for leak in leaks):
        leaks.append(f"An answer that is meant to repeat given code begins with `### BEGIN SOLUTION, {REPEATS}`.")
    if any("the hidden file" in leak for leak in leaks):
        leaks.append(f"A hidden file that is meant to repeat the template says so in a comment: `# {SHOWN}`.")
    raise UserError("\n".join([f"{assignment.name} was not released; something hidden would leave:", *leaks]))


def pack(name: str, files: dict[str, bytes]) -> bytes:
    """A zip with everything in one folder; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, data in sorted(files.items()):
            info = zipfile.ZipInfo(f"{name}/{file}", EPOCH)
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return buffer.getvalue()


def _read_me(assignment: Assignment) -> str:
    notebook = assignment.template_path.name
    rows = []
    for cell in assignment.cells.values():
        how = "by hand" if cell.manual else "by checks"
        rows.append(f"| {cell.title.replace('|', '/')} | `{cell.grade_id}` | {cell.points:g} | {how} |")
    files = [training.checkpoint for training in assignment.config.training.values()]
    checkpoints = [f"`{file}`" for file in files if file is not None]
    extra = f" Weights that you trained may lie beside it, as {' and '.join(checkpoints)}." if checkpoints else ""
    if drawn := [f"`{task}`" for task, training in assignment.config.training.items() if training.data is not None]:
        extra += f" Hand in no weights of {' and '.join(drawn)}: grading trains that on data drawn for you."
    beside = " and ".join(f"`{name}`" for name in (CHECKS, *assignment.config.files))
    packages = "".join(f" '{name}'" for name in assignment.config.packages)
    return "\n".join(
        [
            f"# {assignment.title}",
            "",
            f"Work in `{notebook}`, from top to bottom. Write where it says `YOUR CODE HERE` or `YOUR ANSWER HERE`;",
            "add cells of your own as you like. Cells marked as locked are put back as they are here before grading.",
            "",
            f"The first cell installs the course's package, `{WHEEL}`, which has to lie beside the notebook like",
            f"{beside}. In a terminal",
            "",
            f"    pip install './{WHEEL}[cli]'{packages}     # once",
            f"    autograder check {notebook}",
            "",
            'checks what you have so far, and so does `check("…")` below each task; with `--train` also what has to be',
            "trained. They try a part of what a task says is checked, hidden checks try all of it.",
            f"Hand in `{notebook}`.{extra}",
            "",
            "| task | name | points | graded |",
            "|---|---|---|---|",
            *rows,
            f"| | | {assignment.points:g} | |",
            "",
        ]
    )


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Replace a folder as a whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        fresh, old = Path(scratch) / "new", Path(scratch) / "old"
        fresh.mkdir()
        for name, data in files.items():
            (fresh / name).write_bytes(data)
        if folder.exists():
            shutil.move(folder, old)
        fresh.replace(folder)
