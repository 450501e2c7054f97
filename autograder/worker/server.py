"""One reply to each request, and nothing else, on a channel that student code is not told about."""

from __future__ import annotations

import os
import platform
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import torch

from .channel import Output
from .dynamo import postpone
from .notebook import Notebook
from .objects import Objects
from .replies import error_of, reply_to
from .wire import Caps, WireError, receive, send

# Captured now, as in wire.py.
_settrace, _setprofile, _exit, _getpid = sys.settrace, sys.setprofile, os._exit, os.getpid
_getrecursionlimit, _setrecursionlimit = sys.getrecursionlimit, sys.setrecursionlimit
RECURSION = 1000
BROKEN = 70  # exit status when the channel itself is broken


def serve(sock: socket.socket, output: Output, walls: bool = False) -> NoReturn:
    """Announces what runs here, then answers requests until the judge closes the channel; never returns.

    Args:
        walls: this is a container, where a notebook's commands may run.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    postpone()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    worker = Worker(output, walls)
    caps, owner = Caps(), _getpid()
    try:
        send(sock, {"op": "ready", "versions": versions()})
        while (request := receive(sock, caps)) is not None:
            number, room = request.pop("id", None), request.pop("room", None)
            reply = worker.answer(request)
            if _getpid() != owner:  # student code forked and came back twice
                _exit(0)
            try:
                send(sock, {"id": number, **reply}, None, caps if room is None else Caps.of_reply(*room))
            except WireError as error:
                send(sock, {"id": number, "ok": False, "error": error_of(error), "stdout": reply["stdout"]}, None, caps)
    except BaseException:
        _exit(BROKEN)
    _exit(0)


def versions() -> dict[str, str]:
    """What a report needs to repeat the run."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


class Worker:
    """The notebook and its objects behind one table of operations."""

    def __init__(self, output: Output, walls: bool) -> None:
        self._output = output
        self._notebook = Notebook(output.take, walls)
        self._objects = Objects(self._notebook.scopes, self._notebook.scopes.end)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to one request, without its number."""
        op = request.pop("op", None)
        reply = reply_to(self._handle, op, request)
        _settrace(None)
        _setprofile(None)
        if _getrecursionlimit() < RECURSION:
            _setrecursionlimit(RECURSION)
        self._output.restore()
        return {**reply, "stdout": self._output.take()}

    def _handle(self, op: str, fields: Mapping[str, Any]) -> Any:
        if op == "checkpoint":
            scope, name = self._notebook.checkpoint(**fields)
            return self._objects.handle("resolve", {"scope": scope, "name": name, "keep": True})
        if op in self._notebook.operations:
            return self._notebook.operations[op](**fields)
        return self._objects.handle(op, fields)
