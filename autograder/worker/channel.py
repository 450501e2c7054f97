"""The worker's descriptors: the judge's socket out of the way, stdout and stderr caught with a cap.

The socket sits at a high number and closes on exec; descriptors 0, 1 and 2 belong to student code. Python's own
`sys.stdout` writes straight to memory; what C code and child processes write to descriptors 1 and 2 arrives through a
pipe that a thread drains. Of either only the last `KEEP` bytes stay.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import resource
import select
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Any

KEEP = 64 << 10  # bytes of output kept per request
HIGH = 1000  # the socket's descriptor, or as high as the limit allows

_read, _select = os.read, select.select


def arguments_of(words: Sequence[str]) -> argparse.Namespace:
    """The worker's command line: `socket` or `fd`, and `walls`."""
    parser = argparse.ArgumentParser(prog="worker")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", help="path of the judge's unix socket")
    where.add_argument("--fd", type=int, help="number of an inherited, connected socket")
    parser.add_argument("--walls", action="store_true", help="this is a container: a notebook's commands run")
    return parser.parse_args(words)


def open_channel(given: argparse.Namespace) -> socket.socket:
    """Connects to the judge, or takes an inherited socket, and moves it to a high descriptor."""
    if given.fd is None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(given.socket)
    else:
        sock = socket.socket(fileno=given.fd)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = HIGH if soft == resource.RLIM_INFINITY else max(3, min(HIGH, soft - 8))
    moved = fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, highest)
    sock.close()
    return socket.socket(fileno=moved)


class Tail:
    """The last `KEEP` bytes of what is written, and how many came before them."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._cut = 0

    def write(self, data: Any) -> int:
        end = memoryview(data).cast("B")[-KEEP:]  # a line of a gigabyte is not copied
        size = memoryview(data).nbytes
        self._cut += size - len(end)
        self._kept += end
        if len(self._kept) > 2 * KEEP:
            self._cut += len(self._kept) - KEEP
            self._kept = self._kept[-KEEP:]
        return size

    def take(self) -> str:
        """What was written since the last call, cut at the front; progress bars leave their last state only."""
        kept, self._kept = self._kept, bytearray()
        cut, self._cut = self._cut + max(0, len(kept) - KEEP), 0
        text = bytes(kept[-KEEP:]).decode("utf-8", "replace")
        lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
        return (f"… {cut} bytes before this were left out\n" if cut else "") + "\n".join(lines)


class _Stream(io.RawIOBase):
    """What stands behind `sys.stdout` and `sys.stderr`."""

    def __init__(self, tail: Tail, number: int) -> None:
        super().__init__()
        self._tail = tail
        self._number = number

    def write(self, data: Any) -> int:
        return self._tail.write(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number  # for child processes that are given this stream


def _unusable(stream: io.TextIOWrapper) -> bool:
    try:
        return stream.closed
    except ValueError:  # detached from what it wrote to
        return True


class Output:
    """Catches everything printed, from Python, C and child processes; installed when made."""

    def __init__(self) -> None:
        self._tail = Tail()
        self._streams: dict[str, io.TextIOWrapper] = {}
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 (`exit()` closes it, and must not free descriptor 0)
        os.close(null)
        reading, writing = os.pipe()
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(writing)
        high = fcntl.fcntl(reading, fcntl.F_DUPFD_CLOEXEC, 64)
        os.close(reading)
        os.set_blocking(high, False)
        self._pipe = high
        self._lock = threading.Lock()
        self.restore()
        threading.Thread(target=self._drain, name="output", daemon=True).start()

    def restore(self) -> None:
        """Puts `sys.stdout`, `sys.stderr` and an empty `sys.stdin` back, whatever student code made of them."""
        for number, name in ((1, "stdout"), (2, "stderr")):
            stream = self._streams.get(name)
            if stream is None or _unusable(stream):
                raw: Any = _Stream(self._tail, number)
                stream = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
                self._streams[name] = stream
            setattr(sys, name, stream)
        if not isinstance(sys.stdin, io.TextIOWrapper) or _unusable(sys.stdin):
            sys.stdin = io.TextIOWrapper(io.BytesIO())

    def take(self) -> str:
        """The end of what was printed since the last call."""
        try:
            for _ in range(16):  # not forever: a child process may write faster than this reads
                if not self._read():
                    break
        except OSError:  # student code closed the pipe
            pass
        return self._tail.take()

    def _read(self) -> int | None:
        """Moves what is in the pipe to the tail. Returns the bytes moved, None if there was nothing yet."""
        held = self._lock.acquire(timeout=1.0)  # a forked copy of this process may find it held for ever
        try:
            data = _read(self._pipe, 1 << 16)
            self._tail.write(data)
            return len(data)
        except BlockingIOError:
            return None
        finally:
            if held:
                self._lock.release()

    def _drain(self) -> None:
        try:
            while self._read() != 0:  # nothing at all is read once everybody has closed the other end
                _select([self._pipe], [], [])
        except (OSError, ValueError):  # student code closed the pipe itself
            return
