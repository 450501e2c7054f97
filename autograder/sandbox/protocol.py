"""What a sandbox is: its limits, how it ends, what it used, and the two protocols that every kind of it follows."""

from __future__ import annotations

import dataclasses
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from autograder.errors import UserError
from autograder.sandbox.reading import Reading

SandboxKind = Literal["docker", "process"]
ON_A_GPU = {  # what makes its arithmetic repeatable, and has to be known before CUDA starts
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "NVIDIA_TF32_OVERRIDE": "0",
}


@dataclass(frozen=True)
class Limits:
    """What one sandbox may use. Megabytes are 2**20 bytes.

    Args:
        cpu_seconds: CPU time of each process; by default what `cpus` could burn in `wall_seconds`.
        wall_seconds: from `acquire()` until the sandbox is killed, whoever is to blame: the last resort behind the
            judge's own clock, enforced inside too, should the grader die.
        start_seconds: how long a worker may take to import torch before it counts as the machine's failure.
        tmp_mb, tmp_files: size and number of files of /tmp and of /dev/shm (`shm_mb`); they count as memory.
        file_mb: size of the largest file.
    """

    memory_mb: int = 2048
    cpus: float = 1.0
    pids: int = 128
    wall_seconds: float = 600.0
    cpu_seconds: int | None = None
    start_seconds: float = 300.0  # on a machine with a dozen others at work; a worker that died is noticed at once
    tmp_mb: int = 64
    shm_mb: int = 64
    tmp_files: int = 4096
    file_mb: int = 256
    open_files: int = 256

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value is not None and not value > 0:
                raise UserError(f"the limit {name} must be positive, got {value}")
        if self.memory_mb < 256:
            raise UserError(f"the limit memory_mb must be at least 256 (torch alone takes 150), got {self.memory_mb}")

    @property
    def cpu_cap(self) -> int:
        """CPU seconds after which the kernel kills a process, also when nobody watches."""
        return self.cpu_seconds or int(self.wall_seconds * max(1.0, self.cpus)) + 30

    def as_dict(self) -> dict[str, float]:
        """For the report's `Environment.limits`."""
        return {name: float(value) for name, value in dataclasses.asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Ending:
    """How a worker ended that closed its socket.

    `text` completes the sentence "your code ended the process: ...". "lifetime" is nobody's doing: it was killed
    for its age, whatever it did.
    """

    reason: Literal["crash", "memory", "timeout", "lifetime"]
    text: str


@dataclass(frozen=True)
class Usage:
    """What a sandbox used; None where the machine does not tell."""

    cpu_seconds: float | None
    peak_mb: float | None


class Sandbox(Protocol):
    """One worker, used once. `socket` is connected and the worker has imported torch.

    `cores` is how many processors it can keep busy at once.
    """

    socket: socket.socket
    ready: dict[str, Any]
    cores: float

    def ending(self) -> Ending:
        """After end of file on the socket: why. Takes a few seconds at most."""

    def usage(self) -> Usage:
        """CPU time and peak memory of everything inside; keeps the last reading after `kill`."""

    def reading(self) -> Reading:
        """What everything inside used and waited for so far; nothing is known of a dead one."""

    def kill(self) -> None:
        """End everything inside at once, without asking it. Does nothing the second time."""


class Provider(Protocol):
    """A source of sandboxes; use it as a context manager, or call `close`."""

    name: SandboxKind
    limits: Limits
    image: str | None

    def acquire(self) -> Sandbox:
        """A fresh sandbox, the prestarted one if there is one. Raises Infrastructure or UserError."""

    def prestart(self) -> None:
        """Start one spare sandbox without waiting for it; trouble is reported by the next `acquire`."""

    def close(self) -> None:
        """End and remove everything this provider started, and wait until it is gone."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
