"""Run a program of this machine and hand on what it says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence

from autograder.errors import Infrastructure

Say = Callable[[str], None]  # told each line worth showing


def run(command: Sequence[str], what: str, say: Say, environment: dict[str, str] | None = None) -> None:
    """Run a command, hand on its lines, and raise Infrastructure with the last of them if it fails."""
    lines: list[str] = []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        env=os.environ | (environment or {}),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            say(line.rstrip())
    if process.returncode:
        tail = " / ".join([line for line in lines if line.strip()][-4:])
        raise Infrastructure(f"{what} failed with exit code {process.returncode}: {tail[-600:]}")
