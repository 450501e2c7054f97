"""Whose is it? Sessions, their folders, and the reaper that cleans up after a grader that was killed.

A session is one grader process: `<boot>-<pid namespace>-<pid>-<start time>`. Nothing of an earlier boot is alive; a pid
of another namespace means nothing here; the start time says whether the pid was given to somebody else since.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

REAPER = Path(__file__).with_name("reaper.py")


def start_time(pid: int) -> str | None:
    """Start of a process in clock ticks since boot, None if there is none (or only its zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rsplit(b")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


@lru_cache
def machine() -> str:
    """This boot of this machine, and this pid namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    namespace = re.sub(r"\D", "", str(Path("/proc/self/ns/pid").readlink()))
    return f"{boot.replace('-', '')[:8]}-{namespace}"


def session() -> str:
    """The session of this process; another one after a fork."""
    return f"{machine()}-{os.getpid()}-{start_time(os.getpid())}"


def is_dead(name: str) -> bool:
    """True if the grader of that session is gone; False when in doubt."""
    try:
        boot, namespace, pid, started = name.split("-")
        here = machine().split("-")
        return boot != here[0] or (namespace == here[1] and start_time(int(pid)) != started)
    except ValueError:
        return False


def root() -> Path:
    """The folder of this user's sessions; nobody else may look into it. Short, for sockets have short names."""
    path = Path(tempfile.gettempdir()) / f"autograder-{os.getuid()}"
    if len(str(path)) > 48:
        path = Path(f"/tmp/autograder-{os.getuid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    info = path.lstat()
    if info.st_uid != os.getuid() or path.is_symlink():
        raise PermissionError(f"{path} belongs to somebody else; remove it")
    if info.st_mode & 0o077:
        path.chmod(0o700)
    return path


def folder() -> Path:
    """This session's folder, made on first use."""
    path = root() / session()
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def sweep_folders() -> list[str]:
    """Remove the folders of dead sessions."""
    removed = []
    for path in root().iterdir():
        if is_dead(path.name):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(str(path))
    return removed


class Reaper:
    """A small process that outlives this one by the moment it takes to remove what this one started."""

    def __init__(self, engine: str | None, place: Path | None = None) -> None:
        """
        Args:
            engine: path of the engine's socket, None if no containers are involved.
            place: the folder to remove, by default this session's.
        """
        place = place or folder()
        command = [sys.executable, "-I", "-S", "-B", str(REAPER), str(os.getpid()), session(), str(place)]
        self._process = subprocess.Popen(
            [*command, engine or ""],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={},
        )

    def dismiss(self) -> None:
        """Nothing is left to clean up."""
        self._process.kill()
        self._process.wait()
