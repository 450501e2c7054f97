"""Something that stands between two who talk, and can be cut: an engine that dies, a network that fails."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable


class Relay:
    """Hands on what either side says.

    Args:
        listener: bound; whoever connects to it is handed on.
        reach: a connection to the other side.
    """

    def __init__(self, listener: socket.socket, reach: Callable[[], socket.socket]) -> None:
        self._listener, self._reach = listener, reach
        self._whole = threading.Event()
        self._whole.set()
        self._open: list[socket.socket] = []
        listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """End what is said, and answer nobody until it is mended."""
        self._whole.clear()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def mend(self) -> None:
        """Hand on again."""
        self._whole.set()

    def close(self) -> None:
        """Answer nobody any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _serve(self) -> None:
        while True:
            try:
                asker, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                if not self._whole.is_set():
                    asker.close()
                    continue
                other = self._reach()
                self._open += [asker, other]
                threading.Thread(target=_between, args=(asker, other), daemon=True).start()


def _between(one: socket.socket, other: socket.socket) -> None:
    """Hand on until one has said all."""
    with contextlib.suppress(OSError), one, other:
        while True:
            for ready in select.select([one, other], [], [])[0]:
                if not (data := ready.recv(1 << 16)):
                    return
                (other if ready is one else one).sendall(data)
