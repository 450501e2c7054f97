"""What a sandbox has used and waited for so far, read from outside.

A thread that is ready to run waits while the machine runs somebody else. The kernel keeps the sum of these waits for
every thread (`/proc/PID/task/TID/schedstat`: nanoseconds run, nanoseconds waited), but forgets it with the thread, and
the figures of a process are those of its first thread alone. A container's control group tells the rest: CPU time, also
of what has ended, and the time in which its own quota kept it from running, which the kernel counts as waiting too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
THREADS = 4096  # looked at in one reading, at most


@dataclass(frozen=True)
class Reading:
    """Seconds so far, of everything inside a sandbox together; None where the machine does not tell.

    Args:
        throttled: kept from running by the sandbox's own quota.
        waited: ready to run and not run, summed over threads; what `throttled` says is part of it.
    """

    cpu: float | None = None
    throttled: float = 0.0
    waited: float | None = None


class Threads:
    """Time run and time waited of the threads of a sandbox, those that have ended with what was last seen of them."""

    def __init__(self) -> None:
        self._alive: dict[int, tuple[float, float]] = {}
        self._ran, self._waited = 0.0, 0.0  # of those that have ended

    def look(self, pids: Iterable[int]) -> tuple[float, float] | None:
        """Seconds run and waited of all threads of these processes so far; None if the kernel does not tell."""
        found = dict(islice(_threads(pids), THREADS))
        for thread, (ran, waited) in self._alive.items():
            if thread not in found or found[thread][0] < ran:  # gone, or its number is somebody else's now
                self._ran, self._waited = self._ran + ran, self._waited + waited
        self._alive = found
        ran = self._ran + sum(figures[0] for figures in found.values())
        waited = self._waited + sum(figures[1] for figures in found.values())
        return (ran, waited) if ran else None


def _threads(pids: Iterable[int]) -> Iterator[tuple[int, tuple[float, float]]]:
    for pid in pids:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 (names are enough)
                figures = _of_thread(f"/proc/{pid}/task/{thread}")
                if figures is not None:
                    yield int(thread), figures
        except OSError:  # the process has ended
            continue


def waited_here() -> float:
    """Seconds that the thread which asks was ready to run and was not run; 0 where the kernel does not tell."""
    figures = _of_thread("/proc/thread-self")
    return 0.0 if figures is None else figures[1]


def _of_thread(folder: str) -> tuple[float, float] | None:
    """Seconds a thread ran and seconds it waited, by its folder under /proc; asked often, so without a file object."""
    try:
        descriptor = os.open(f"{folder}/schedstat", os.O_RDONLY)
        try:
            ran, waited, _ = os.read(descriptor, 100).split()
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return None
    return int(ran) / 1e9, int(waited) / 1e9


@dataclass(frozen=True)
class Group:
    """A container's control group: one folder in version 2, a folder for each kind of figure in version 1."""

    version: int
    cpu: Path
    quota: Path
    memory: Path

    @classmethod
    def of(cls, container: str, root: Path = CGROUPS) -> Group | None:
        """The group of a running container, with either of the engine's two drivers; None where it is elsewhere."""
        for place in (f"docker/{container}", f"system.slice/docker-{container}.scope"):
            if "usage_usec" in _figures(root / place / "cpu.stat"):
                return cls(2, root / place, root / place, root / place)
            if (root / "cpuacct" / place / "cpuacct.usage").exists():
                return cls(1, root / "cpuacct" / place, root / "cpu" / place, root / "memory" / place)
        return None

    def cpu_seconds(self) -> float | None:
        """CPU time of everything that ever ran in it; None once it is gone."""
        if self.version == 2:
            return _scaled(_figures(self.cpu / "cpu.stat").get("usage_usec"), 1e-6)
        return _scaled(_number(self.cpu / "cpuacct.usage"), 1e-9)

    def throttled_seconds(self) -> float:
        """Time in which its quota kept it from running, summed over processors."""
        stat = _figures(self.quota / "cpu.stat")
        key, unit = ("throttled_usec", 1e-6) if self.version == 2 else ("throttled_time", 1e-9)
        return _scaled(stat.get(key), unit) or 0.0

    def peak_mb(self) -> float | None:
        """The most memory it ever held."""
        name = "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes"
        return _scaled(_number(self.memory / name), 1 / (1 << 20))

    def pids(self) -> list[int]:
        """Its processes."""
        try:
            return [int(line) for line in (self.cpu / "cgroup.procs").read_text().split()]
        except (OSError, ValueError):
            return []


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None


def _figures(path: Path) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in map(str.split, path.read_text().splitlines())}
    except (OSError, ValueError):
        return {}


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value * unit
