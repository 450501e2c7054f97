"""The worker's operations within this process, for `check(...)` in a student's own notebook and for tests."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from autograder.errors import AuthorError, StudentFault
from autograder.student.answers import value_of
from autograder.student.handles import Handle, handle_of
from autograder.student.kept import KeptAsFound
from autograder.student.replies import Replies
from autograder.worker.objects import Objects
from autograder.worker.replies import error_of, reply_to
from autograder.worker.wire import PREFIX, Caps, Ref, WireError, decode, encode


class LocalChannel:
    """A `student.Channel` to objects of this process. Everything is encoded and decoded as on its way to a sandbox, and
    what a sandbox would refuse is refused here. After a check the networks it asked are as they were before.

    Args:
        namespace: names that `Student` resolves, whatever its scope; looked into at every request.
    """

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self.released: deque[int] = deque()
        self._replies: Replies | None = None  # bounded in a check
        self._kept = KeptAsFound(namespace)
        self._objects = Objects(_EveryScope(self._kept), self._kept)

    def request(self, op: str, **fields: object) -> Any:
        """Carry out one request. A keyboard interrupt ends it, as in any notebook.

        Raises:
            StudentFault: as `student.value_of` has it.
            AuthorError: the operation is unknown.
        """
        if op in ("train", "checkpoint"):  # here the person has run the training cell, or has not
            return {"status": "ok", "error": None}
        if op not in self._objects.operations:
            raise AuthorError(f"there is no operation {op!r}")
        try:
            sent = _round_trip(fields)
        except WireError as error:
            raise StudentFault(f"this check could not be sent to your code: {error}", reason="output") from None
        reply = reply_to(self._objects.handle, op, sent)
        if not reply["ok"] and reply["error"]["type"] == "KeyboardInterrupt":
            raise KeyboardInterrupt
        try:
            reply = _round_trip(reply, CAPS if self._replies is None else self._replies.caps())
        except WireError as error:
            reply = {"ok": False, "error": error_of(error)}
        if self._replies is not None:
            self._replies.took(reply)
        return value_of(reply)

    files: Collection[str] = ()  # here a checkpoint is loaded by whoever wants it

    @contextmanager
    def check(self, seconds: float | None = None, reply_mb: float | None = None) -> Iterator[None]:
        """No clock runs, as the person in front of the notebook can interrupt it; replies have their caps."""
        self._replies = Replies(reply_mb)
        try:
            yield
        finally:
            self._replies = None
            self._kept.restore()


class Workbench(LocalChannel):
    """A channel to plain callables of this process, which take anything as an argument."""

    def __init__(self) -> None:
        super().__init__({})

    def adopt(self, thing: Any) -> Handle:
        """A handle of any object of this process."""
        return handle_of(self, self._objects.ref(thing))

    def request(self, op: str, **fields: object) -> Any:
        """The same; a student's object that a callable of ours was given, and gave back, is that object itself."""
        return self._theirs(super().request(op, **fields))

    def _theirs(self, value: Any) -> Any:
        if type(value) is Ref:
            thing = self._objects.held(value)
            return thing if isinstance(thing, Handle) else value
        if type(value) in (list, tuple):
            return type(value)(map(self._theirs, value))
        return {key: self._theirs(part) for key, part in value.items()} if type(value) is dict else value


def as_handle(h: Any) -> Handle:
    """A handle of anything: a plain object is reached through a channel within this process."""
    if isinstance(h, Handle):
        return h
    return Workbench().adopt(h)


CAPS = Caps()  # of what is sent, and of functions of the judge's own


class _EveryScope(Mapping[str, Mapping[str, Any]]):
    """In a live notebook there is one namespace, that of now."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace

    def __getitem__(self, scope: str) -> Mapping[str, Any]:
        return self._namespace

    def __contains__(self, scope: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _round_trip(message: dict[str, Any], caps: Caps = CAPS) -> dict[str, Any]:
    prefix, *body = encode(message, caps)
    return decode(bytes(prefix)[PREFIX.size :], b"".join(body), caps)
