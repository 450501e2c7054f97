"""Notebooks are read first in a process of their own: whatever a file does to its reader, the class goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from types import TracebackType
from typing import TypeVar

from autograder.errors import UnreadableError
from autograder.grading.local import end_judges, judges
from autograder.homework import ipynb
from autograder.records.record import Record
from autograder.records.state import digest_of
from autograder.submissions.collect import Look

SECONDS = 60.0  # for one notebook; the largest takes two
TOO_MUCH = "takes more time or memory to read than a notebook may."

T = TypeVar("T")


class Reader:
    """Reads notebooks. A context manager; the process starts with the first unknown notebook.

    Args:
        record: remembers what was said of a notebook, by the hash of its file.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._stack = ExitStack()
        self._judge: ProcessPoolExecutor | None = None

    def __enter__(self) -> Look:
        return Look(self.notes, self.slim)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def notes(self, data: bytes) -> list[str]:
        """Notes on a notebook. Raises UnreadableError if it is none, or reading it takes too much."""
        digest = digest_of(data)
        said = self._record.notes_on(digest)
        if said is None:
            said = self._asked(notes_on, data)
            self._record.put_notes(digest, said)
        return said

    def slim(self, data: bytes) -> bytes:
        """A notebook without its outputs. Raises UnreadableError as `notes` does."""
        return self._asked(slimmed, data)

    def _asked(self, work: Callable[[bytes], T | str], data: bytes) -> T:
        if self._judge is None:
            self._judge = self._stack.enter_context(judges(1))
        try:
            said = self._judge.submit(work, data).result(SECONDS)
        except (BrokenProcessPool, TimeoutError):
            end_judges(self._judge)
            self._judge = None
            raise UnreadableError(TOO_MUCH) from None
        if isinstance(said, str):
            raise UnreadableError(said)
        return said


def notes_on(data: bytes) -> list[str] | str:
    """What is odd about a notebook, or why it is none."""
    return _guarded(lambda: ipynb.parse(data)[1])


def slimmed(data: bytes) -> bytes | str:
    """A notebook without its outputs, or why it is none."""
    return _guarded(lambda: ipynb.without_outputs(data))


def _guarded(work: Callable[[], T]) -> T | str:
    try:
        return work()
    except UnreadableError as error:
        return str(error)
    except MemoryError:
        return TOO_MUCH
