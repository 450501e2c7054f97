"""A real worker process on the other end of a socketpair, for tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import autograder.worker
from autograder.worker.wire import Caps, at, receive, send

FOLDER = Path(autograder.worker.__file__).parent


def worker_environment(home: Path) -> dict[str, str]:
    """What a worker's process finds in its environment."""
    one = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1"}
    return {"PATH": os.environ["PATH"], "HOME": str(home), **one}


class WorkerProcess:
    """Starts `python -I autograder/worker` in `cwd` and speaks to it.

    Args:
        seconds: how long any one reply may take.
        walls: commands run, as in a container.
    """

    def __init__(self, cwd: Path, seconds: float = 300.0, walls: bool = False) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-B", str(FOLDER), "--fd", str(theirs.fileno())]
        command += ["--walls"] if walls else []
        self.process = subprocess.Popen(
            command, cwd=cwd, env=worker_environment(cwd), pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        )
        theirs.close()
        self.socket = ours
        self.seconds = seconds
        self.serial = 0
        self.ready = self.receive()

    def receive(self) -> Any:
        return receive(self.socket, Caps(), at(time.monotonic() + self.seconds))

    def ask(self, op: str, **fields: Any) -> Any:
        """The reply to one request, None if the worker is gone."""
        self.serial += 1
        send(self.socket, {"id": self.serial, "op": op, **fields}, at(time.monotonic() + self.seconds))
        reply = self.receive()
        assert reply is None or reply["id"] == self.serial
        return reply

    def value(self, op: str, **fields: Any) -> Any:
        reply = self.ask(op, **fields)
        assert reply["ok"], reply["error"]
        return reply["value"]

    def load(self, *cells: dict[str, Any] | str, files: dict[str, Any] | None = None, seed: int = 0) -> None:
        notebook = [as_cell(cell, position) for position, cell in enumerate(cells)]
        self.value("load", cells=notebook, files=files or {}, seed=seed, device="cpu")

    def run(self, *cells: dict[str, Any] | str, files: dict[str, Any] | None = None) -> list[Any]:
        """Loads a notebook and runs all of its cells."""
        self.load(*cells, files=files)
        return [self.value("run_cell", index=i, scope=None) for i in range(len(cells))]

    def resolve(self, name: str, scope: str | None = None) -> Any:
        return self.value("resolve", scope=scope, name=name)

    def call(self, name: str, *args: Any, scope: str | None = None, **kwargs: Any) -> Any:
        """The reply to a call of one of the notebook's functions."""
        return self.ask("call", target={"scope": scope, "name": name}, method=None, args=list(args), kwargs=kwargs)

    def close(self) -> None:
        self.socket.close()
        self.process.kill()
        self.process.wait()


def as_cell(cell: dict[str, Any] | str, position: int) -> dict[str, Any]:
    plain = {"kind": "code", "grade_id": None, "tags": [], "number": position + 1}
    return {**plain, **({"source": cell} if isinstance(cell, str) else cell)}


def graded(source: str, grade_id: str, **more: Any) -> dict[str, Any]:
    return {"source": source, "grade_id": grade_id, **more}


def training(source: str, task: str) -> dict[str, Any]:
    return {"source": source, "tags": ["train", f"train:{task}"]}


def texts(runs: Sequence[Any]) -> list[str]:
    return [run["status"] for run in runs]
