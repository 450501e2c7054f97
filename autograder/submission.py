"""What one student handed in, ready to grade."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from nbformat import NotebookNode

from autograder.errors import Infrastructure
from autograder.homework import ipynb

FILES_BYTES = 48 << 20  # of all files together: a sandbox has 64 MB of disk, and the rest is the notebook's
FILE_BYTES = FILES_BYTES
FILES = 64
DEPTH = 12  # folders and name of one of them


@dataclass(frozen=True)
class Submission:
    """One student's notebook and the files beside it, read whole."""

    student: str
    notebook_bytes: bytes = field(repr=False)
    files: dict[str, bytes] = field(repr=False)  # by relative path, "utils/masks.py"
    sha256: str  # over the notebook and the files
    path: str  # where it came from, for people
    notes: tuple[str, ...] = ()  # for the student
    submitted: datetime | None = None  # with its zone; None if nothing tells
    clock: str = ""  # what tells when it was handed in
    late: bool = False
    marked_late: bool = False  # the course page says that it came late, and not when
    matched: str = ""  # how it is known whose it is, where not by the id: "by full name"
    exported: str = ""  # the name that the course page gave it, by which it takes feedback back
    lies: Mapping[str, str] | None = None  # the notebook's file as "", and the others; None if they are no plain files

    @classmethod
    def of(cls, student: str, notebook: bytes, files: Mapping[str, bytes] | None = None) -> Submission:
        """A submission from bytes at hand."""
        files = dict(files or {})
        total = hashlib.sha256(hashlib.sha256(notebook).digest())
        for name in sorted(files):
            total.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
        return cls(student, notebook, files, total.hexdigest(), student)

    @property
    def notebook(self) -> NotebookNode:
        """The notebook, parsed anew."""
        return ipynb.parse(self.notebook_bytes)[0]

    def read(self) -> Submission:
        """Itself."""
        return self


@dataclass(frozen=True)
class Stored:
    """A submission that lies on disk: what is known of it travels, its bytes are read where it is graded.

    Args:
        root: the folder below which `lies` names the notebook (as "") and the files beside it.
        sha256: over the notebook and the files, as they were when somebody looked.
    """

    student: str
    sha256: str
    root: Path
    lies: Mapping[str, str]
    path: str = ""
    notes: tuple[str, ...] = ()
    submitted: datetime | None = None
    clock: str = ""
    late: bool = False
    marked_late: bool = False

    def read(self) -> Submission:
        """The whole of it. Raises Infrastructure if it is not what it was."""
        try:
            notebook = _content(self.root / self.lies[""], ipynb.NOTEBOOK_BYTES)
            files = {name: _content(self.root / path, FILE_BYTES) for name, path in self.lies.items() if name}
        except OSError as error:
            raise Infrastructure(f"what was handed in cannot be read ({error.strerror}); grade again") from None
        found = Submission.of(self.student, notebook, files)
        if found.sha256 != self.sha256:
            raise Infrastructure("what was handed in changed while it was being graded; grade again")
        return replace(
            found, path=self.path, notes=self.notes,
            submitted=self.submitted, clock=self.clock, late=self.late, marked_late=self.marked_late,
        )  # fmt: skip


def _content(path: Path, limit: int) -> bytes:
    """A plain file's content, cut: what has another length has another hash as well."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read(limit + 1) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
