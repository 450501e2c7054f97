"""Handles: what a check holds in the place of an object in the sandbox, and how values cross."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NoReturn, Protocol

import numpy as np
import torch
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.student.answers import tampered
from autograder.worker.wire import Ref

RELEASE_BATCH = 256  # handles given up before the worker is told
LONGEST = 100_000  # elements of an object that are walked through


class Channel(Protocol):
    """A way to the student's code."""

    def request(self, op: str, **fields: object) -> Any:
        """Send one request and return the value of its reply.

        Raises:
            StudentFault: an error in the student's code, a time-out, a death; with its reason code.
        """


class Handle:
    """An object in the sandbox. Attributes, calls, indexing, `len` and iteration reach through to it.

    Arguments may be tensors, numbers, text, lists, tuples and dictionaries of them, and handles. Plain data comes back
    as plain data; anything else as another handle. Calls run without recording gradients and without a seed; `call`
    sets both.

    Raises:
        StudentFault: whatever goes wrong in the student's code, with its reason code.
        AuthorError: an argument can not be sent.
    """

    __slots__ = ("_handle_channel", "_handle_ref", "_handle_released")

    def __init__(self, channel: Channel, ref: Ref, released: deque[int]) -> None:
        object.__setattr__(self, "_handle_channel", channel)
        object.__setattr__(self, "_handle_ref", ref)
        object.__setattr__(self, "_handle_released", released)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return request(self, "call", args=args, kwargs=kwargs)

    def __getattr__(self, name: str) -> Any:
        refuse_own(name, "_handle_")
        return request(self, "getattr", name=name)

    def __setattr__(self, name: str, value: Any) -> None:
        request(self, "setattr", name=name, value=value)

    def __getitem__(self, key: Any) -> Any:
        return request(self, "call", method="__getitem__", args=(key,))

    def __len__(self) -> int:
        length = request(self, "call", method="__len__")
        if type(length) is not int or not 0 <= length <= LONGEST:
            raise Wrong(f"the length of an object is not a number from 0 to {LONGEST}")
        return length

    def __iter__(self) -> Iterator[Any]:
        return (self[position] for position in range(len(self)))

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<{self._handle_ref.type} in the sandbox>"

    def __reduce__(self) -> NoReturn:
        raise AuthorError("a handle can not be copied or pickled; the object is in the sandbox")

    def __del__(self) -> None:
        try:
            self._handle_released.append(self._handle_ref.id)  # only noted: a request here could be inside another
        except AttributeError:
            return  # never finished


# the state of a handle


def is_module(h: Any) -> bool:
    """Whether this is a torch module, here or in the sandbox."""
    return h._handle_ref.module if isinstance(h, Handle) else isinstance(h, torch.nn.Module)


def is_callable(h: Any) -> bool:
    """Whether this can be called; `callable(handle)` is true of every handle."""
    return h._handle_ref.callable if isinstance(h, Handle) else callable(h)


def type_name(h: Any) -> str:
    """Name of the class of a value or of the object behind a handle; text from the student, to be escaped."""
    return h._handle_ref.type if isinstance(h, Handle) else type(h).__name__


# crossing


def wrap(channel: Channel, value: Any) -> Any:
    """What a check sees of a reply: handles in the place of references."""
    if type(value) is Ref:
        return handle_of(channel, value)
    if type(value) in (list, tuple):
        return type(value)(wrap(channel, item) for item in value)
    if type(value) is dict:
        return {key: wrap(channel, item) for key, item in value.items()}
    return value


def unwrap(channel: Channel, value: Any) -> Any:
    """What is sent of an argument: references in the place of handles.

    Raises:
        AuthorError: it is neither data nor a handle of this channel.
    """
    if isinstance(value, Handle) and value._handle_channel is channel:
        return value._handle_ref
    if type(value) is list or isinstance(value, tuple):
        return (list if type(value) is list else tuple)(unwrap(channel, item) for item in value)
    if type(value) is dict:
        return {key: unwrap(channel, item) for key, item in value.items()}
    if value is None or isinstance(value, DATA):
        return value
    adopt = getattr(channel, "adopt", None)
    if adopt is None:
        kind = "handle of another sandbox" if isinstance(value, Handle) else type(value).__name__
        raise AuthorError(f"student code takes data and handles of its own sandbox, got a {kind}")
    return adopt(value)._handle_ref  # given up at once, and told so with a later request


DATA = (Tensor, np.ndarray, np.generic, bool, int, float, str, torch.dtype, torch.device)


def handle_of(channel: Channel, value: Any) -> Handle:
    """A handle of the object a reply refers to."""
    if type(value) is not Ref:
        tampered("an object was asked for, something else came back")
    return Handle(channel, value, released_on(channel))


def request(h: Handle, op: str, **fields: Any) -> Any:
    channel, released = h._handle_channel, h._handle_released
    if len(released) >= RELEASE_BATCH:
        channel.request("release", ids=[released.popleft() for _ in range(len(released))])
    sent = {key: unwrap(channel, value) for key, value in fields.items()}
    return wrap(channel, channel.request(op, target=h._handle_ref, **sent))


def released_on(channel: Any) -> deque[int]:
    """Ids of handles given up on this channel, kept on the channel itself so that they end together."""
    if not hasattr(channel, "released"):
        channel.released = deque()
    ids: deque[int] = channel.released
    return ids


def refuse_own(name: str, prefix: str) -> None:
    """Python looks for `__array__` and the like on everything, and half-made objects miss their own slots."""
    if name.startswith(prefix) or (name.startswith("__") and name.endswith("__")):
        raise AttributeError(f"no attribute {name}")
