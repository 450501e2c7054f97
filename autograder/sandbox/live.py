"""What both kinds of sandbox share: the greeting, the wall-clock cap, the spare, and ending in good order."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import threading
import time
from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from autograder.errors import Infrastructure
from autograder.sandbox import traces
from autograder.sandbox.protocol import Ending, Limits, SandboxKind, Usage
from autograder.sandbox.reading import Reading

Socket = socket.socket
SPARE_SECONDS = 3000.0  # a spare older than this is replaced


class LiveSandbox(ABC):
    """One started worker. A kind of sandbox says how to connect, to end, and to measure it."""

    socket: Socket
    ready: dict[str, Any]
    cores: float

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._started = time.monotonic()
        self._usage = Usage(None, None)
        self._lock = threading.Lock()
        self._dead = False
        self._out_of_time = False
        self._watchdog: threading.Timer | None = None

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started

    @abstractmethod
    def _connect(self, deadline: float) -> Socket:
        """The socket the worker will speak on. Raises TimeoutError or Infrastructure."""

    @abstractmethod
    def _end(self) -> None:
        """SIGKILL to everything inside, and remove it; called once."""

    @abstractmethod
    def _explain(self) -> Ending:
        """Why the worker closed its socket; may wait a few seconds for it to exit."""

    @abstractmethod
    def _measure(self) -> Usage:
        """What everything inside used so far, as far as it can be read."""

    @abstractmethod
    def _read(self) -> Reading:
        """What everything inside used and waited for, as far as it can be read."""

    @abstractmethod
    def _trouble(self) -> str:
        """What can be said about a worker that did not come up."""

    def open(self) -> None:
        """Wait until the worker has torch and says so."""
        from autograder.worker.wire import WireError, at, receive  # loads torch: not before a sandbox is there

        deadline = max(self._started + self.limits.start_seconds, time.monotonic() + 1)
        problem = None
        try:
            self.socket = self._connect(deadline)
            self.ready = receive(self.socket, deadline=at(deadline)) or {}
        except TimeoutError:
            problem = f"no answer within the {self.limits.start_seconds:.0f} s a start may take"
        except (WireError, OSError) as error:
            problem = str(error)
        if problem is not None or self.ready.get("op") != "ready" or self._is_closed():
            raise Infrastructure(f"the sandbox did not come up: {problem or self._trouble()}")
        self._watchdog = threading.Timer(self.limits.wall_seconds, self._time_out)
        self._watchdog.daemon = True
        self._watchdog.start()

    def _is_closed(self) -> bool:
        """True if the worker is gone although its greeting still lay in the socket."""
        self.socket.settimeout(0)  # a socket with a time-out waits whatever MSG_DONTWAIT says
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def ending(self) -> Ending:
        if self._out_of_time:
            return Ending("lifetime", f"it was there for longer than the {self.limits.wall_seconds:.0f} s it may last")
        return self._explain()

    def usage(self) -> Usage:
        if not self._dead:
            fresh = self._measure()
            if fresh.cpu_seconds is not None:  # else keep the last reading
                self._usage = fresh
        return self._usage

    def reading(self) -> Reading:
        return Reading() if self._dead else self._read()

    def kill(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._end_once()
        if hasattr(self, "socket"):
            self.socket.close()

    def _time_out(self) -> None:
        self._out_of_time = True
        self._end_once()

    def _end_once(self) -> None:
        with self._lock:
            if self._dead:
                return
            self.usage()
            self._dead = True
        self._end()


S = TypeVar("S", bound=LiveSandbox)


class WarmProvider(ABC, Generic[S]):
    """Sandboxes one after another, each used once, the next one started while this one works."""

    name: SandboxKind
    image: str | None = None

    def __init__(self, limits: Limits, engine: str | None) -> None:
        """
        Args:
            engine: path of the engine's socket, for the reaper; None without containers.
        """
        self.limits = limits
        self.token = os.urandom(4).hex()
        self.threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="sandboxes")
        self._engine = engine
        self._numbers = itertools.count(1)
        self._spare: Future[S] | None = None
        self._reaper: traces.Reaper | None = None
        self._closed = False

    @abstractmethod
    def _launch(self, number: int, folder: Path) -> S:
        """Start a worker, without waiting for it; `folder` is its own, empty and removed afterwards."""

    @abstractmethod
    def _remove_all(self) -> None:
        """End and remove whatever this provider started that is still there."""

    def prestart(self) -> None:
        if self._spare is None and not self._closed:
            self._begin()
            self._spare = self.threads.submit(self._start)

    def acquire(self) -> S:
        if self._closed:
            raise Infrastructure("the source of sandboxes is closed")
        self._begin()
        spare, self._spare = self._spare, None
        sandbox = None if spare is None else spare.result()
        if sandbox is not None:
            try:
                if sandbox.age < SPARE_SECONDS:
                    sandbox.open()
                    return sandbox
            except Infrastructure:  # it died while it waited
                pass
            except BaseException:
                sandbox.kill()
                raise
            sandbox.kill()
        sandbox = self._start()
        try:
            sandbox.open()
        except BaseException:
            sandbox.kill()
            raise
        return sandbox

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.threads.shutdown(wait=True, cancel_futures=True)
        self._remove_all()
        shutil.rmtree(traces.folder() / self.token, ignore_errors=True)
        with contextlib.suppress(OSError):
            traces.folder().rmdir()  # unless another provider of this process still uses it
        if self._reaper is not None:
            self._reaper.dismiss()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def in_background(self, action: Any, *arguments: Any) -> None:
        """Do something that `close` waits for; at once if we are closing."""
        try:
            self.threads.submit(action, *arguments)
        except RuntimeError:  # the threads are shut down
            action(*arguments)

    def _begin(self) -> None:
        if self._reaper is None:
            self._reaper = traces.Reaper(self._engine)

    def _start(self) -> S:
        number = next(self._numbers)
        folder = traces.folder() / self.token / str(number)
        folder.mkdir(parents=True)
        return self._launch(number, folder)
