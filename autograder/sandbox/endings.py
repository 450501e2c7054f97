"""What an exit code says about student code, in words that complete "your code ended the process: ..."."""

from __future__ import annotations

import signal

from autograder.sandbox.protocol import Ending, Limits


def describe_exit(code: int, limits: Limits, out_of_memory: bool) -> Ending:
    """Classify the end of a worker that should have gone on.

    Args:
        code: as a shell gives it: 128 plus the signal's number, if a signal ended it. 0 is no success either: student
            code that calls `os._exit(0)` ends this way.
        out_of_memory: the kernel or the watcher killed something inside for its memory.
    """
    if out_of_memory:
        return Ending("memory", f"it used more memory than the {limits.memory_mb} MB there are")
    if code == 128 + signal.SIGXCPU:
        return Ending("timeout", f"it used more than {limits.cpu_cap} s of CPU time")
    if code == 124:  # of `timeout`, the last of the caps
        return Ending("lifetime", "it was there for longer than a sandbox lives")
    if code == 128 + signal.SIGSEGV:
        return Ending("crash", "it crashed with a segmentation fault")
    if code > 128:
        try:
            name = signal.Signals(code - 128).name
        except ValueError:
            name = f"signal {code - 128}"
        return Ending("crash", f"it was ended by {name}")
    return Ending("crash", f"it left with exit code {code}, as `os._exit({code})` does")
