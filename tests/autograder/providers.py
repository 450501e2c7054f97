"""Sources of sandboxes for tests: real workers that start in milliseconds, scripted ones, and ones that fail.

`ForkProvider` forks this process, torch already imported, into a worker: everything of a process sandbox but its walls
and its second of start-up. `ScriptedProvider` has a thread at the other end that says exactly what a test wants said.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autograder.errors import Infrastructure
from autograder.sandbox import Ending, Limits, Reading, Usage
from autograder.sandbox.endings import describe_exit
from autograder.sandbox.process import relatives
from autograder.sandbox.reading import Threads
from autograder.worker.channel import Output
from autograder.worker.server import serve
from autograder.worker.wire import at, receive, send

HIGH = 900  # the worker's end of the channel
READY = {"op": "ready", "versions": {"python": "3", "torch": "2", "numpy": "1"}}


class ForkedSandbox:
    """A worker in a forked child."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.folder = tempfile.TemporaryDirectory(prefix="forked-")
        self.socket, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _become_worker(theirs, self.folder.name)
            finally:
                os._exit(99)
        theirs.close()
        self.ready = receive(self.socket, deadline=at(time.monotonic() + 10)) or {}
        self.exit_code: int | None = None
        self.killed = False
        self.cores = len(os.sched_getaffinity(0))
        self._threads = Threads()

    def reading(self) -> Reading:
        figures = self._threads.look(relatives(self.pid))
        return Reading() if figures is None else Reading(figures[0], waited=figures[1])

    def ending(self) -> Ending:
        return describe_exit(self._wait(), self.limits, out_of_memory=False)

    def usage(self) -> Usage:
        return Usage(0.25, 1.0)

    def kill(self) -> None:
        if not self.killed:
            self.killed = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)  # what it forked stays in its session
            self._wait()
            self.socket.close()
            self.folder.cleanup()

    def _wait(self) -> int:
        if self.exit_code is None:
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self.exit_code = code if code >= 0 else 128 - code
        return self.exit_code


def _become_worker(sock: socket.socket, folder: str) -> None:
    os.setsid()
    os.chdir(folder)
    high = fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, HIGH)
    sock.detach()
    os.closerange(3, HIGH)
    serve(socket.socket(fileno=high), Output())


class FakeProvider:
    """What the providers of this file share; `started` holds every sandbox there ever was."""

    name = "process"
    image = None
    limits = Limits()

    def __init__(self) -> None:
        self.started: list[Any] = []

    def acquire(self) -> Any:
        self.started.append(self._start())
        return self.started[-1]

    def _start(self) -> Any:
        return ForkedSandbox(self.limits)

    def prestart(self) -> None:
        pass

    def close(self) -> None:
        for sandbox in self.started:
            sandbox.kill()


class ForkProvider(FakeProvider):
    """Real workers."""


class FailingProvider(FakeProvider):
    """Fails as often as told, then gives real workers."""

    def __init__(self, error: Exception, times: int = 10**6) -> None:
        super().__init__()
        self.error, self.left, self.asked = error, times, 0

    def _start(self) -> Any:
        self.asked += 1
        if self.left:
            self.left -= 1
            raise self.error
        return super()._start()


Script = Callable[[Mapping[str, Any]], Any]


class ScriptedProvider(FakeProvider):
    """Each sandbox is a thread that answers requests as its script says.

    A script takes a request and returns the reply as a dictionary (its `id` is filled in unless it has one), bytes to
    write as they are, or None to close the channel. Bytes that end the conversation come as `(bytes, None)`.
    """

    def __init__(self, *scripts: Script, start_seconds: float = 0.0) -> None:
        super().__init__()
        self.scripts = scripts
        self.start_seconds = start_seconds

    def _start(self) -> Any:
        if len(self.started) == len(self.scripts):
            raise Infrastructure("there are no more sandboxes")
        time.sleep(self.start_seconds)
        return _Scripted(self.scripts[len(self.started)])


class _Scripted:
    """Its machine does not tell what it waited for."""

    cores = 1.0

    def __init__(self, script: Script) -> None:
        self.socket, self._theirs = socket.socketpair()
        self.ready = READY
        self.requests: list[Mapping[str, Any]] = []
        self._thread = threading.Thread(target=self._serve, args=(script,), daemon=True)
        self._thread.start()

    def _serve(self, script: Script) -> None:
        with self._theirs as sock:
            while (request := receive(sock)) is not None:
                self.requests.append(request)
                answer = script(request)
                last = isinstance(answer, tuple) or answer is None
                answer = answer[0] if isinstance(answer, tuple) else answer
                try:
                    if isinstance(answer, bytes):
                        sock.sendall(answer)
                    elif answer is not None:
                        send(sock, {"id": request["id"], "stdout": "", **answer})
                except OSError:  # the session did not wait for it
                    return
                if last:
                    return

    def ending(self) -> Ending:
        return Ending("crash", "it left with exit code 1")

    def usage(self) -> Usage:
        return Usage(None, None)

    def reading(self) -> Reading:
        return Reading()

    def kill(self) -> None:
        self.socket.close()


def good(request: Mapping[str, Any]) -> dict[str, Any]:
    """What an honest worker says to every request of a session, with 7 as the value of everything."""
    if request["op"] == "load":
        return {"ok": True, "value": {"cells": len(request["cells"])}}
    if request["op"] == "run_cell":
        return {"ok": True, "value": {"status": "ok", "seconds": 0.0, "error": None, "notes": [], "stdout": ""}}
    return {"ok": True, "value": 7}


def cells(*sources: str | Sequence[str], grade: bool = True) -> list[dict[str, Any]]:
    """A notebook of one task per source, named a, b, c…: the source's cell, then the locked cell that ends the task.

    A source given as a sequence is the code and its tags.
    """
    notebook: list[dict[str, Any]] = []
    for position, given in enumerate(sources):
        source, tags = (given, []) if isinstance(given, str) else (given[0], list(given[1:]))
        notebook.append({"source": source, "kind": "code", "grade_id": None, "tags": tags})
        if grade:
            name = chr(ord("a") + position)
            notebook.append({"source": f'check("{name}")', "kind": "code", "grade_id": name, "tags": []})
    return [{**cell, "number": number} for number, cell in enumerate(notebook, 1)]


def leftovers(folder: Path) -> list[str]:
    """Names of hidden files below a folder: what somebody began to write."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*"))
