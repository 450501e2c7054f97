"""Workers that are forked from one process which has imported torch and IPython already: a second less for each.

Everything else is as `WorkerProcess` starts it: the worker's own `__main__`, its folder, environment and walls.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.autograder.worker_process import FOLDER, WorkerProcess, worker_environment

PARENT = f"""
import json, os, runpy, signal, socket, sys
import IPython.core.interactiveshell, matplotlib, numpy, torch
channel = socket.socket(fileno=int(sys.argv[1]))
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    words, descriptors, _, _ = socket.recv_fds(channel, 1 << 16, 1)
    if not words:
        break
    told = json.loads(words)
    child = os.fork()
    if child:
        os.close(descriptors[0])
        channel.sendall(str(child).encode())
        continue
    channel.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["environment"])
    sys.argv = [{str(FOLDER)!r}, "--fd", str(descriptors[0]), "--walls"]
    runpy.run_path({str(FOLDER)!r}, run_name="__main__")
"""


class Warm:
    """The process that workers are forked from."""

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-B", "-c", PARENT, str(theirs.fileno())]
        environment = worker_environment(Path("/"))
        self.process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()

    def fork(self, cwd: Path, theirs: socket.socket) -> int:
        """A worker in a folder, on the other end of a channel; its process id."""
        told = {"cwd": str(cwd), "environment": worker_environment(cwd)}
        socket.send_fds(self.channel, [json.dumps(told).encode()], [theirs.fileno()])
        return int(self.channel.recv(32))

    def close(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()


class WarmWorker(WorkerProcess):
    """A worker that is forked instead of started."""

    def __init__(self, parent: Warm, cwd: Path, seconds: float) -> None:
        self.socket, theirs = socket.socketpair()
        self.pid = parent.fork(cwd, theirs)
        theirs.close()
        self.seconds = seconds
        self.serial = 0
        self.ready = self.receive()

    def close(self) -> None:
        self.socket.close()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
