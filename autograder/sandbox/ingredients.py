"""The folder an image is built from: Dockerfile, worker and wheels. Wheels stay there between builds."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from autograder.errors import UserError
from autograder.sandbox.running import Say, run
from autograder.sandbox.worker_files import WORKER, worker_files

HERE = Path(__file__).parent


@contextmanager
def cache() -> Iterator[Path]:
    """The folder images are built from, for one build at a time; wheels stay there between builds."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "autograder" / "image"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def fill(folder: Path, python: str, requirements: str, pip_options: Sequence[str], say: Say) -> None:
    """Put everything the Dockerfile copies into the folder."""
    shutil.copy2(HERE / "Dockerfile", folder / "Dockerfile")
    (folder / "requirements.txt").write_text((HERE / "requirements.txt").read_text() + requirements)
    shutil.rmtree(folder / "worker", ignore_errors=True)
    for path in worker_files(WORKER):
        target = folder / "worker" / path.relative_to(WORKER)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    _wheels(folder / "wheelhouse", folder / "requirements.txt", python, pip_options, say)


def _wheels(folder: Path, requirements: Path, python: str, pip_options: Sequence[str], say: Say) -> None:
    stamp = hashlib.sha256(repr((requirements.read_bytes(), python, list(pip_options))).encode()).hexdigest()
    if (folder / "stamp").exists() and (folder / "stamp").read_text() == stamp:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--dest", str(folder), "--only-binary=:all:"]
    if python != "{}.{}".format(*sys.version_info):
        machine = os.uname().machine
        platforms = [f"manylinux_2_{minor}_{machine}" for minor in (28, 27, 24, 17)] + [f"manylinux2014_{machine}"]
        command += ["--python-version", python, *(f"--platform={name}" for name in platforms)]
    say("downloading the packages student code may import")
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        raise UserError(f"this Python has no pip; `{sys.executable} -m ensurepip`")
    run([*command, *pip_options, "--requirement", str(requirements), "pip"], "pip download", say)
    (folder / "stamp").write_text(stamp)
