"""A busy machine, for tests: processes that do nothing but run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"  # and it does not outlive its parent


@contextmanager
def busy(count: int) -> Iterator[None]:
    """As long as the block lasts, `count` processes run; each is ended by its number."""
    started = [subprocess.Popen([sys.executable, "-I", "-S", "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()
