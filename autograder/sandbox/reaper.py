"""Waits for a grader to end and removes what it left: containers, processes, sockets, folders.

Started as `python -I -S reaper.py PID SESSION FOLDER ENGINE_SOCKET`; imports almost nothing, to stay small. A grader
that ends in good order cleans up by itself and ends this process first.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable

MARK = "AUTOGRADER_SANDBOX"  # in the environment of every process a process sandbox starts


def processes_of(session: str) -> list[int]:
    """Processes that carry the session's mark in the environment they were started with."""
    mark = f"\0{MARK}={session}".encode()
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 (pathlib costs more memory than all else here)
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:  # noqa: PTH123
                if mark in b"\0" + file.read(1 << 20):
                    found.append(int(name))
        except OSError:
            continue
    return found


def end_processes(session: str, rounds: int = 50) -> int:
    """Kill until none is left: a process may fork between the look and the blow."""
    ended = 0
    for _ in range(rounds):
        alive = processes_of(session)
        if not alive:
            break
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
                ended += 1
            except OSError:
                continue
        time.sleep(0.01)
    return ended


def ask(engine: str, method: str, path: str) -> bytes:
    """One request to the engine over its unix socket; the body, if it answered with 2xx."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(engine)
        sock.sendall(f"{method} {path} HTTP/1.0\r\nHost: engine\r\n\r\n".encode())
        answer = b""
        while chunk := sock.recv(1 << 16):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return body if head.split(b" ", 2)[1].startswith(b"2") else b"[]"


def remove_containers(engine: str, session: str) -> int:
    """Remove every container that carries the session's label."""
    filters = '{"label":["autograder.session=' + session + '"]}'
    quoted = "".join(c if c.isalnum() or c in "-_." else f"%{ord(c):02X}" for c in filters)
    rows = json.loads(ask(engine, "GET", f"/containers/json?all=1&filters={quoted}"))
    for row in rows:
        ask(engine, "DELETE", f"/containers/{row['Id']}?force=1&v=1")
    return len(rows)


def remove_folder(path: str) -> None:
    """Remove a folder tree without following links."""
    for base, folders, files in os.walk(path, topdown=False):
        for name in files:
            _quietly(os.unlink, f"{base}/{name}")
        for name in folders:
            _quietly(os.unlink if os.path.islink(f"{base}/{name}") else os.rmdir, f"{base}/{name}")  # noqa: PTH114
    _quietly(os.rmdir, path)


def _quietly(action: Callable[[str], None], path: str) -> None:
    with contextlib.suppress(OSError):
        action(path)


def main(pid: int, session: str, path: str, engine: str) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        descriptor = None
    if descriptor is not None:
        select.select([descriptor], [], [])
    end_processes(session)
    for _ in range(5):  # a request of the dead grader may still be on its way through the engine
        try:
            if engine:
                remove_containers(engine, session)
        except (OSError, ValueError, IndexError):
            pass
        time.sleep(0.2)
    remove_folder(path)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:5])
