"""What a judge reads of a homework, as one file for a machine that has none of it.

What students get and what is hidden of this homework, what homeworks share, and whatever of the folders beside them the
hidden code imports; no variants and no other homework's answers. The file is named by its own hash.
"""

from __future__ import annotations

import ast
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from autograder.homework.files import VARIANTS, HomeworkFiles

PUBLIC, HIDDEN = "public", "hidden"
PASSED_OVER = frozenset(("__pycache__", ".ipynb_checkpoints", VARIANTS))
DATED = (1980, 1, 1, 0, 0, 0)  # all files alike: the same content is the same bundle


@dataclass(frozen=True)
class Bundle:
    """The files of one homework."""

    digest: str
    solutions: str  # the name of their folder, by which hidden code imports from it
    data: bytes = field(repr=False)

    def lay(self, folder: Path) -> None:
        """Unpack it into a folder that nobody else may look into; it is there whole, or not at all."""
        begun = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))  # mode 0700
        try:
            with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
                archive.extractall(begun)
            begun.replace(folder)
        except OSError:
            shutil.rmtree(begun, ignore_errors=True)
            raise

    def files(self, folder: Path, files: HomeworkFiles) -> HomeworkFiles:
        """Where the files of the homework lie, once it is laid there."""
        return replace(files, assignments=folder / PUBLIC, solutions=folder / HIDDEN / self.solutions)

    def folders(self, folder: Path, files: HomeworkFiles) -> tuple[tuple[str, str], ...]:
        """Where it is laid, and where that lies on the machine that packed it."""
        assert files.solutions is not None
        root = files.solutions.parent
        return (str(folder / PUBLIC), str(files.assignments)), (str(folder / HIDDEN), str(root))


def packed(files: HomeworkFiles) -> Bundle:
    """The bundle of a homework. Raises UserError where there are no solutions."""
    hidden = files.hidden.resolve().parent
    found = {f"{PUBLIC}/{files.name}/{name}": path for name, path in _files(files.folder)}
    for place in _needed(files.hidden.resolve(), hidden):
        below = place.relative_to(hidden.parent).as_posix()
        found |= {f"{HIDDEN}/{below}/{name}" if name else f"{HIDDEN}/{below}": path for name, path in _files(place)}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(found.items()):
            archive.writestr(zipfile.ZipInfo(name, DATED), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return Bundle(sha256(target.getvalue()).hexdigest()[:32], hidden.name, target.getvalue())


def _needed(homework: Path, solutions: Path) -> list[Path]:
    """Folders and files that hidden code of a homework needs: its own, shared ones, and what these import."""
    found: list[Path] = []
    todo = [homework, solutions / "common", *sorted(solutions.glob("*.py"))]
    while todo:
        place = todo.pop()
        if place in found or not place.exists():
            continue
        found.append(place)
        for _, path in _files(place):
            if path.suffix == ".py":
                todo += _beside(path, solutions)
    return found


def _beside(path: Path, solutions: Path) -> Iterator[Path]:
    """What may be meant by the imports of a file, below or beside the folder of solutions."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            first, second = [*name.split("."), ""][:2]
            place = solutions / second if first == solutions.name and second else solutions.parent / first
            if place not in (solutions, solutions.parent / "autograder"):  # the engine is installed
                yield from (place, place.with_suffix(".py"))


def _files(place: Path) -> Iterator[tuple[str, Path]]:
    """The files below a folder by relative name; of a file, itself as ""."""
    if place.is_file():
        yield "", place
        return
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(set(folders) - PASSED_OVER)
        for name in sorted(names):
            path = Path(folder, name)
            yield path.relative_to(place).as_posix(), path
