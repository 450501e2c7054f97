"""The files beside a notebook, by relative path: folders stay folders, within bounds, and no path is two files."""

from __future__ import annotations

from autograder.errors import RefusedError
from autograder.homework.assignment import Assignment
from autograder.homework.files import CHECKS, CONFIG
from autograder.submission import FILE_BYTES, FILES, FILES_BYTES
from autograder.submissions.archive import Entry, printable

GIVEN = {CHECKS, CONFIG, "readme.md"}  # handed back as they were handed out
WEIGHTS = (".pt", ".pth", ".ckpt", ".safetensors")
NOTES = 20  # sentences about single files that were left out


def files_beside(
    entries: list[Entry], assignment: Assignment, notes: list[str]
) -> tuple[dict[str, bytes], dict[str, Entry]]:
    """What is graded with the notebook, by name, and where each was; what was left out is added to `notes`.

    A checkpoint that lies in a folder stays there and is also put beside the notebook, where it is looked for.
    """
    checkpoints = {training.checkpoint for training in assignment.config.training.values()} - {None}
    drawn = [task for task, training in assignment.config.training.items() if training.data is not None]
    files: dict[str, bytes] = {}
    origins: dict[str, Entry] = {}
    taken = _Paths(assignment)
    left_out: list[str] = []
    total = 0
    for entry in sorted(entries, key=lambda entry: (entry.name not in checkpoints, len(entry.parts), entry.parts)):
        name = "/".join(entry.parts)
        if name.lower() in GIVEN or name in assignment.config.files:
            continue
        if entry.is_notebook or entry.name.lower().endswith(".zip"):
            left_out.append(f"`{show(entry)}` was left out.")
        elif not taken.is_free(entry.parts):
            left_out.append(f"There are two files called `{show(entry)}`; one was left out.")
        elif entry.size > FILE_BYTES or total + entry.size > FILES_BYTES or len(files) >= FILES:
            room = f"{FILES} files of together {FILES_BYTES >> 20} MB"
            size = f"{entry.size / 2**20:.0f} MB"
            left_out.append(f"`{show(entry)}` was left out: it has {size}, and there is room for {room}.")
        else:
            taken.add(entry.parts)
            files[name], origins[name] = content(entry, FILE_BYTES), entry
            total += len(files[name])
            if entry.name in checkpoints and taken.is_free((entry.name,)):
                taken.add((entry.name,))
                files[entry.name], origins[entry.name] = files[name], entry
                notes.append(f"`{show(entry)}` was taken as the checkpoint `{entry.name}`.")
            if drawn and entry.name not in checkpoints and entry.name.lower().endswith(WEIGHTS):
                tasks = " and ".join(f"`{task}`" for task in drawn)
                left_out.append(
                    f"`{show(entry)}` is not loaded as trained weights: the training of {tasks} is run when the "
                    "notebook is graded, on data drawn for you."
                )
    notes += left_out[:NOTES]
    if len(left_out) > NOTES:
        notes.append(f"{len(left_out) - NOTES} more files were left out.")
    return files, origins


class _Paths:
    """Paths that are taken, whatever the case of their letters: no file is also a folder of another one."""

    def __init__(self, assignment: Assignment) -> None:
        self._files: set[tuple[str, ...]] = {(assignment.template_path.name.lower(),)}
        self._folders: set[tuple[str, ...]] = set()

    def is_free(self, parts: tuple[str, ...]) -> bool:
        """Whether a file may have this path."""
        path = tuple(part.lower() for part in parts)
        above = {path[:depth] for depth in range(1, len(path))}
        return path not in self._files and path not in self._folders and not above & self._files

    def add(self, parts: tuple[str, ...]) -> None:
        """Takes a path and the folders above it."""
        path = tuple(part.lower() for part in parts)
        self._files.add(path)
        self._folders |= {path[:depth] for depth in range(1, len(path))}


def content(entry: Entry, limit: int) -> bytes:
    """What is in an entry. Raises RefusedError with a whole sentence."""
    try:
        return entry.read(limit)
    except RefusedError as problem:
        raise RefusedError(f"`{show(entry)}` {problem}.") from None


def show(entry: Entry) -> str:
    """The path of an entry, safe to show."""
    return printable("/".join(entry.parts))
