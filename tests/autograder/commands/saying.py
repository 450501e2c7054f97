"""Commands run in the test's process, what they said, and what a class hands in, for tests of the command line."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from typing import IO

from tests.autograder.course_factory import ANSWERS, NAME

WRONG = ANSWERS | {"double-answer": "def double(x):\n    return x * 3\n"}


class Said(SimpleNamespace):
    """What a command said: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Invoke = Callable[..., Said]


def forked(folder: Path, main: Callable[[], object], *words: str) -> Said:
    """What a program says in a folder: a process of its own that need not import everything again.

    Args:
        main: its entry point.
        words: its name and its arguments.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        pid = os.fork()
        if pid == 0:
            os._exit(_run(folder, main, words, out, err))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read())
    return Said(code=code, out=said[0], err=said[1])


def _run(folder: Path, main: Callable[[], object], words: tuple[str, ...], out: IO[str], err: IO[str]) -> int:
    """In the forked process; its exit code."""
    code: object = 0
    forkserver._forkserver.__init__()  # the test's own server of forks is no child of this process
    try:
        os.chdir(folder)
        os.environ["COLUMNS"] = "120"
        sys.argv, sys.stdout, sys.stderr = list(words), out, err
        main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc(file=err)
        code = 70
    out.flush()
    err.flush()
    return code if isinstance(code, int) else 1


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
