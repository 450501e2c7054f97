"""Commands run in the test's process, what they said, and what a class hands in, for tests of the command line."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from tests.autograder.course_factory import ANSWERS, NAME

WRONG = ANSWERS | {"double-answer": "def double(x):\n    return x * 3\n"}


class Said(SimpleNamespace):
    """What a command said: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Invoke = Callable[..., Said]


def in_this_process(jobs, workers, work, started):
    """In the place of judge processes."""
    return ((job, work(job)) for job in jobs)


def refused(said: Said, *words: str, code: int = 2) -> None:
    """A sentence at the end of stderr, nothing on stdout."""
    assert (said.code, said.out) == (code, "")
    before, _, sentence = said.err.partition("autograder: ")
    assert before == "" or before.endswith("\n")
    for word in words:
        assert word in sentence


def export(folder: Path, **files: bytes) -> Path:
    """A zip of one folder a student."""
    path = folder / "export.zip"
    with zipfile.ZipFile(path, "w") as file:
        for student, content in files.items():
            file.writestr(f"{student}/{NAME}.ipynb", content)
    return path


def rewrite(path: Path, old: str, new: str) -> None:
    """Replace what stands exactly once in a file."""
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))
