"""What one student handed in, ready to grade."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nbformat import NotebookNode

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
    submitted: datetime | None = None  # UTC
    late: bool = False

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
