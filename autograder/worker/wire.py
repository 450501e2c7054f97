"""Frames between the judge and the worker: a JSON header and raw tensor bytes, nothing that can run.

    magic "AGW1" · header length u32 · body length u64 · header (JSON, UTF-8) · body

The header is `{"v": value, "t": [[dtype, shape], ...]}`. Tensors lie in the body in the order of `t`, little-endian,
each beginning at a multiple of 64 bytes; offsets and sizes follow from dtype and shape alone, so a header has no number
to lie with, and the body must have exactly the implied length. JSON's null, booleans, numbers, strings and arrays stand
for themselves; everything else is an object with one key:

    {"f": "nan"} float · {"u": [...]} tuple · {"d": [[key, value], ...]} dict · {"t": 3} tensor number 3
    {"y": "float32"} dtype · {"e": "cuda:0"} device · {"r": [id, type, callable, module]} an object that stays
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import torch

from .decoding import decode
from .encoding import encode, type_name
from .layout import CAPS, MAGIC, PREFIX, Buffer, Caps, Ref, TooLarge, Truncated, WireError, megabytes

__all__ = [
    "PREFIX",
    "Caps",
    "Deadline",
    "Ref",
    "TooLarge",
    "Truncated",
    "WireError",
    "at",
    "decode",
    "encode",
    "megabytes",
    "receive",
    "send",
    "type_name",
]

# A `time.monotonic()` value, asked for anew whenever the one given before has passed: who gives it may extend it.
Deadline = Callable[[], float]

_BUFFERS = 512  # of one system call, below IOV_MAX
# Captured now: student code that patches these later does not reach the channel.
_sendmsg, _recv_into, _settimeout = socket.socket.sendmsg, socket.socket.recv_into, socket.socket.settimeout
_monotonic, _empty, _uint8, _numpy = time.monotonic, torch.empty, torch.uint8, torch._C.TensorBase.numpy
_no_subclass = torch._C.DisableTorchFunction


def at(moment: float) -> Deadline:
    """A deadline that nothing extends."""
    return lambda: moment


def send(sock: socket.socket, message: dict[str, Any], deadline: Deadline | None = None, caps: Caps = CAPS) -> None:
    """Sends one frame.

    Args:
        deadline: covers the whole message.

    Raises:
        WireError: the message cannot be sent; nothing has been written.
        TimeoutError: the deadline passed; the channel is unusable.
        OSError: the peer is gone.
    """
    views = [memoryview(buffer) for buffer in encode(message, caps)]
    first = 0
    while first < len(views):
        sent = _in_time(sock, deadline, lambda: _sendmsg(sock, views[first : first + _BUFFERS]))  # noqa: B023 (at once)
        while first < len(views) and sent >= len(views[first]):
            sent -= len(views[first])
            first += 1
        if sent:
            views[first] = views[first][sent:]


def receive(sock: socket.socket, caps: Caps = CAPS, deadline: Deadline | None = None) -> dict[str, Any] | None:
    """Receives one frame, or None if the peer closed the channel before one began.

    Raises:
        WireError: what came is not a message within `caps`; `TooLarge` if its size is the reason, `Truncated` if the
            channel closed in the middle.
        TimeoutError: the deadline passed before the whole message was there.
    """
    prefix = bytearray(PREFIX.size)
    if not _fill(sock, memoryview(prefix), deadline, starting=True):
        return None
    magic, header_bytes, body_bytes = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise WireError("not a frame")
    if header_bytes > caps.header_bytes or body_bytes > caps.body_bytes:
        raise TooLarge(f"a frame of {header_bytes} + {body_bytes} bytes is larger than allowed")
    header = bytearray(header_bytes)
    _fill(sock, memoryview(header), deadline)
    body: Buffer | torch.Tensor = b""
    if body_bytes:  # the system commits its pages as bytes arrive, not when a length is claimed
        with _no_subclass():
            body = _empty(body_bytes, dtype=_uint8, device="cpu")
            view: Any = _numpy(body)
        _fill(sock, memoryview(view), deadline)
    return decode(header, body, caps)


def _fill(sock: socket.socket, view: memoryview, deadline: Deadline | None, starting: bool = False) -> bool:
    """Reads until `view` is full. False if the channel closed before the first byte of a frame."""
    done, size = 0, len(view)
    while done < size:
        try:
            got = _in_time(sock, deadline, lambda: _recv_into(sock, view[done:]))  # noqa: B023 (at once)
        except ConnectionError:
            got = 0
        if got == 0:
            if starting and done == 0:
                return False
            raise Truncated("the channel closed in the middle of a frame")
        done += got
    return True


def _in_time(sock: socket.socket, deadline: Deadline | None, step: Callable[[], int]) -> int:
    """One system call under the socket's own time-out. Raises TimeoutError when the deadline passed for good."""
    while True:
        if deadline is None:
            _settimeout(sock, None)
            return step()
        asked = _monotonic()  # before: a machine that is slow to run us again must not make a moment to come a past one
        left = deadline() - asked
        if left <= 0:
            raise TimeoutError("the deadline passed")
        _settimeout(sock, left)
        try:
            return step()
        except TimeoutError:
            continue  # the deadline is asked again
