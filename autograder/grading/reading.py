"""Notebooks are read first in a process of their own: whatever a file does to its reader, the class goes on."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from types import TracebackType

from autograder.errors import UnreadableError
from autograder.grading.local import end_judges, judges
from autograder.homework import ipynb
from autograder.records.record import Record
from autograder.records.state import digest_of

SECONDS = 60.0  # for one notebook; the largest takes two


class Reader:
    """Says what is odd about a notebook. A context manager; the process starts with the first unknown notebook.

    Args:
        record: remembers what was said of a notebook, by the hash of its file.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._stack = ExitStack()
        self._judge: ProcessPoolExecutor | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __call__(self, data: bytes) -> list[str]:
        """Notes on a notebook. Raises UnreadableError if it is none, or reading it takes too much."""
        digest = digest_of(data)
        said = self._record.notes_on(digest)
        if said is None:
            said = self._read(data)
            self._record.put_notes(digest, said)
        return said

    def _read(self, data: bytes) -> list[str]:
        if self._judge is None:
            self._judge = self._stack.enter_context(judges(1))
        try:
            said = self._judge.submit(notes_on, data).result(SECONDS)
        except (BrokenProcessPool, TimeoutError):
            end_judges(self._judge)
            self._judge = None
            raise UnreadableError("takes more time or memory to read than a notebook may.") from None
        if isinstance(said, str):
            raise UnreadableError(said)
        return said


def notes_on(data: bytes) -> list[str] | str:
    """What is odd about a notebook, or why it is none."""
    try:
        return ipynb.parse(data)[1]
    except UnreadableError as error:
        return str(error)
    except MemoryError:
        return "takes more memory to read than a notebook may."
