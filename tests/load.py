"""A busy machine, for tests: processes that do nothing but run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"  # and it does not outlive its parent


@contextmanager
def busy(count: int) -> Iterator[None]:
    """As long as the block lasts, `count` processes run; each is ended by its number.

    Each is a session of its own: Linux shares processors between sessions first, and these are to be strangers.
    """
    command = [sys.executable, "-I", "-S", "-c", SPIN]
    started = [subprocess.Popen(command, start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()
