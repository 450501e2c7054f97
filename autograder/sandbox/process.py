"""Sandboxes that are child processes: for machines without a container engine. Not a security boundary.

Student code runs as the grader's own user and can read what that user can read. What holds: an empty environment, an
own session, caps on CPU time, file size, descriptors and (by watching) memory, a working folder that is removed, and
that nothing keeps running: processes are found by session, by descent and by the mark in their environment.
What does not: the network, other folders, and a process that hides from all three.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from autograder.errors import SandboxWarning
from autograder.sandbox import traces
from autograder.sandbox.endings import describe_exit
from autograder.sandbox.live import LiveSandbox, WarmProvider
from autograder.sandbox.protocol import ON_A_GPU, Ending, Limits, SandboxKind, Usage
from autograder.sandbox.reading import Reading, Threads
from autograder.sandbox.reaper import MARK, processes_of
from autograder.sandbox.worker_files import WORKER
from autograder.worker.datasets import FOLDER

NO_BOUNDARY = (
    "the process sandbox is no security boundary: submissions can read your files and reach the network;"
    " grade only code you trust, or install a container engine (`autograder doctor`)"
)
SHELF = ".datasets"  # links to them, in the worker's folder; where there are no walls, nothing is read-only
LOOK_EVERY = 0.05  # seconds between two looks at the memory in use
SLACK_MB = 4096  # address space torch and threads reserve without using it
PAGE = os.sysconf("SC_PAGESIZE")
TICKS = os.sysconf("SC_CLK_TCK")


class ProcessSandbox(LiveSandbox):
    """A worker in a child process, watched by a thread."""

    def __init__(self, provider: ProcessProvider, process: subprocess.Popen[bytes], ours: socket.socket, folder: Path):
        super().__init__(provider.limits)
        self.mark = mark(folder)
        self._provider = provider
        self._process = process
        self._ours = ours
        self._folder = folder
        self._out_of_memory = False
        self._peak = 0
        self._threads = Threads()
        self.cores = len(os.sched_getaffinity(process.pid)) if self.is_running() else 1
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name=f"memory of {process.pid}", daemon=True).start()

    def is_running(self) -> bool:
        return self._process.poll() is None

    def _connect(self, deadline: float) -> socket.socket:
        return self._ours

    def _trouble(self) -> str:
        return self._explain().text

    def _explain(self) -> Ending:
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return Ending("crash", "it closed its connection to the grader")
        return describe_exit(code if code >= 0 else 128 - code, self.limits, self._out_of_memory)

    def _measure(self) -> Usage:
        seconds = 0.0
        family = relatives(self._process.pid)
        for pid in family:
            fields = stat(pid)
            own = fields[11:15] if pid == self._process.pid else fields[11:13]  # the worker's: with children it awaited
            seconds += sum(int(field) for field in own) / TICKS
        return Usage(seconds if family else None, self._peak * PAGE / (1 << 20))

    def _read(self) -> Reading:
        figures = self._threads.look(relatives(self._process.pid))
        return Reading() if figures is None else Reading(figures[0], waited=figures[1])

    def _watch(self) -> None:
        """Kill the worker when it and its descendants hold more memory of their own than they may."""
        allowed = self.limits.memory_mb * (1 << 20) // PAGE
        while not self._stopped.wait(LOOK_EVERY) and self.is_running():
            family = relatives(self._process.pid)
            held = sum(private_pages(pid) for pid in family)
            if len(family) > 1 and held > allowed:  # a fork's pages seem its own until they are weighed
                held = sum(proportional_pages(pid) for pid in family)
            self._peak = max(self._peak, held)
            if held > allowed:
                self._out_of_memory = True
                self.usage()
                self._kill_all()

    def _end(self) -> None:
        self._stopped.set()
        self._kill_all()
        self._process.wait()
        self._ours.close()
        self._provider.in_background(shutil.rmtree, self._folder, True)

    def _kill_all(self) -> None:
        """Kill until a look finds nobody: a process may fork between the look and the blow."""
        for _ in range(100):
            found = {pid for pid in family_of(self._process.pid, self.mark) if traces.start_time(pid) is not None}
            if not found:
                return
            for pid in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)


class ProcessProvider(WarmProvider[ProcessSandbox]):
    """Child processes of this one."""

    name: SandboxKind = "process"

    def __init__(
        self, limits: Limits, *, gpu: str | None = None, datasets: Mapping[str, Path] = MappingProxyType({})
    ) -> None:
        super().__init__(limits, engine=None)
        self.gpu = gpu
        self._datasets = dict(datasets)
        warnings.warn(NO_BOUNDARY, SandboxWarning, stacklevel=3)
        self._started: list[ProcessSandbox] = []

    def _launch(self, number: int, folder: Path) -> ProcessSandbox:
        ours, theirs = socket.socketpair()
        for name, source in self._datasets.items():
            (folder / SHELF).mkdir(exist_ok=True)
            (folder / SHELF / name).symlink_to(source)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-B", str(WORKER), "--fd", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env=environment(folder, self.gpu),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        for kind, caps in rlimits(self.limits).items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(process.pid, kind, caps)
        self._started = [sandbox for sandbox in self._started if sandbox.is_running()]
        self._started.append(sandbox := ProcessSandbox(self, process, ours, folder))
        return sandbox

    def _remove_all(self) -> None:
        for sandbox in self._started:
            sandbox.kill()


def mark(folder: Path) -> str:
    """What the child is found by."""
    return f"{traces.session()}.{folder.parent.name}.{folder.name}"


def environment(folder: Path, gpu: str | None = None) -> dict[str, str]:
    """Everything the child's environment holds: nothing of ours but the way to the GPU's driver, if it is given one.

    Args:
        gpu: id of the one device it sees; None hides every device, since a machine's GPU is nobody's by chance.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    driver = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if gpu is not None and name in os.environ}
    return (
        threads
        | driver
        | (ON_A_GPU if gpu is not None else {})
        | {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "USER": "student",
            "LANG": "C.UTF-8",
            "MPLBACKEND": "agg",
            "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
            "CUDA_VISIBLE_DEVICES": gpu or "",
            FOLDER: str(folder / SHELF),
            MARK: mark(folder),
        }
    )


def rlimits(limits: Limits) -> dict[int, tuple[int, int]]:
    """Soft and hard caps of every process. Not RLIMIT_AS: torch reserves gigabytes it never touches."""
    data = (limits.memory_mb + SLACK_MB) << 20
    return {
        resource.RLIMIT_CPU: (limits.cpu_cap, limits.cpu_cap + 5),
        resource.RLIMIT_NOFILE: (limits.open_files, limits.open_files),
        resource.RLIMIT_FSIZE: (limits.file_mb << 20, limits.file_mb << 20),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_DATA: (data, data),
    }


# --- looking at processes ------------------------------------------------------------------------------------------


def stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on: [0] state, [1] parent, [3] session, [11:15] times; [] if gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rsplit(b")", 1)[1].decode().split()
    except OSError:
        return []


def relatives(pid: int) -> list[int]:
    """A process and its living descendants, as far as no link between them has died."""
    found = [pid] if stat(pid) else []
    for parent in found:  # grows while we walk it
        for tasks in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in tasks.read_text().split()]
    return found


def family_of(leader: int, mark: str) -> set[int]:
    """Descendants of a session's leader, members of its session, and whoever carries its mark."""
    members = {
        int(path.name)
        for path in Path("/proc").glob("[0-9]*")
        if (fields := stat(int(path.name))) and int(fields[3]) == leader
    }
    return members | set(relatives(leader)) | set(processes_of(mark))


def proportional_pages(pid: int) -> int:
    """Pages a process holds, a page shared by n processes counted as 1/n; a hundred times slower to read."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[0]) * 1024 // PAGE
    except (OSError, IndexError):
        return 0


def private_pages(pid: int) -> int:
    """Pages a process holds that are not of files; those of a fork count fully although they are shared."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return int(resident) - int(shared)


def sweep() -> list[str]:
    """End the processes of graders that no longer run; returns them as "process 123"."""
    ended = []
    for pid in processes_of(""):
        with contextlib.suppress(OSError):
            for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                name, _, mark = entry.decode(errors="replace").partition("=")
                if name == MARK and traces.is_dead(mark.split(".")[0]):
                    os.kill(pid, signal.SIGKILL)
                    ended.append(f"process {pid}")
    return ended
