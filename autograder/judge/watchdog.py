"""The judge's own part of a check has walls: CPU time, and memory. What they stop is the machine's, and costs nobody.

Three walls, the outer ones for what the inner ones cannot stop. A timer of the process's CPU time raises `Overrun` in
the check. Code that never comes back to Python meets the kernel's limit on CPU time some seconds later, which ends the
judge; `kept` knows what it had found. An allocation past the limit on data fails, and the check with it.
"""

from __future__ import annotations

import math
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from autograder.errors import Overrun
from autograder.report import Report

OWN_SECONDS = 20.0  # of CPU time, or what a check's marker allows the student's part, if that is more
GRACE_SECONDS = 5.0
GROWTH = 1 << 30  # bytes of data a judge may hold beyond those it began with
ALLOCATOR = "DefaultCPUAllocator"  # torch's words when memory runs out


def wall_in() -> None:
    """Bound the data of this process; called once, when a judge process begins."""
    import resource  # not there on Windows, where a student's own checks run unwatched

    status = Path("/proc/self/status").read_text()
    held = int(re.findall(r"^VmData:\s+(\d+) kB", status, re.MULTILINE)[0]) << 10
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (held + GROWTH, hard))


@contextmanager
def watched(seconds: float | None) -> Iterator[None]:
    """Raise `Overrun` in the block once this process has computed for too long in it; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    import resource

    own = max(OWN_SECONDS, seconds or 0.0)
    before = signal.signal(signal.SIGPROF, _stop)
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    last = math.ceil(time.process_time() + own + GRACE_SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (last if hard == resource.RLIM_INFINITY else min(last, hard), hard))
    signal.setitimer(signal.ITIMER_PROF, own)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
        signal.signal(signal.SIGPROF, before)


def as_overrun(fault: BaseException) -> BaseException:
    """What a check raised; `Overrun` where it was the judge whose memory ran out."""
    if isinstance(fault, MemoryError) or (isinstance(fault, RuntimeError) and ALLOCATOR in str(fault)):
        return Overrun("the grader's own part of this check took too much memory and was stopped")
    return fault


def overran(report: Report) -> bool:
    """Whether a check was stopped here: such a submission is tried once more, alone."""
    return any(check.outcome == "infrastructure" and check.overran for check in report.checks)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Overrun("the grader's own part of this check took too long and was stopped")
