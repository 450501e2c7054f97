"""Runs Python inside a sandbox, as a student's cell, and reads what it printed."""

from __future__ import annotations

import errno
import json
import textwrap
import time
from typing import Any

from autograder.sandbox import Sandbox
from autograder.worker.wire import at, receive, send


def request(sandbox: Sandbox, op: str, seconds: float = 300.0, **fields: Any) -> Any:
    """The value of one request's reply; None if the worker is gone."""
    deadline = at(time.monotonic() + seconds)
    send(sandbox.socket, {"id": 1, "op": op, **fields}, deadline)
    try:
        reply = receive(sandbox.socket, deadline=deadline)
    except OSError as error:
        if error.errno != errno.EBADF:  # the sandbox was ended, and its socket closed, while we waited
            raise
        return None
    if reply is None:
        return None
    assert reply["ok"], reply["error"]
    return reply["value"]


def run(sandbox: Sandbox, source: str, seconds: float = 300.0) -> Any:
    """Run one cell; its account (`status`, `error`, `stdout`), None if it ended the worker."""
    cell = {"source": textwrap.dedent(source), "kind": "code", "grade_id": None, "tags": [], "number": 1}
    if request(sandbox, "load", seconds, cells=[cell], files={}, seed=0, device="cpu") is None:
        return None
    return request(sandbox, "run_cell", seconds, index=0, scope=None)


def tell(sandbox: Sandbox, source: str, seconds: float = 300.0) -> Any:
    """Run one cell that prints a JSON document on its last line; the document."""
    account = run(sandbox, source, seconds)
    assert account is not None, "the cell ended the worker"
    assert account["status"] == "ok", account["error"]
    return json.loads(account["stdout"].strip().splitlines()[-1])
