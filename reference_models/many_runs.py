"""Several training runs at once, each in a process of its own on one thread, so that each learns as much as alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ended:
    """A run that is over: its exit code as `train` gives it, what its metrics.json says, what it last said itself."""

    name: str
    code: int
    said: dict[str, Any] | None
    talk: str


def train_many(names: Sequence[str], out: Path, jobs: int, options: Sequence[str]) -> Iterator[Ended]:
    """Trains each family into out/NAME, `jobs` of them at a time, in this order; gives each run as it ends.

    options: of `python -m reference_models train`, for every run. An interrupt ends the runs that have begun, at their
    next step, and begins no other.
    """
    started: list[subprocess.Popen[str]] = []

    def one(name: str) -> Ended:
        command = [sys.executable, "-m", "reference_models", "train", name, "--out", str(out / name), *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        _, talk = process.communicate()
        written = out / name / "metrics.json"
        said = json.loads(written.read_text()) if process.returncode in (0, 1) and written.is_file() else None
        return Ended(name, process.returncode, said, "\n".join(talk.strip().splitlines()[-1:]))

    with ThreadPoolExecutor(jobs) as pool:
        runs = [pool.submit(one, name) for name in names]
        try:
            for run in as_completed(runs):
                yield run.result()
        except BaseException:
            for run in runs:
                run.cancel()
            for process in started:
                process.terminate()
            raise


def longest_first(names: Sequence[str], minutes: Callable[[str], float]) -> list[str]:
    """The names by falling minutes, so that no long run begins last."""
    return sorted(names, key=minutes, reverse=True)
