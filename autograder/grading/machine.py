"""What of a machine could change a mark or a page, and what keeps it from grading at all."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

from autograder.errors import Infrastructure, UserError
from autograder.judge.basis import ENGINE
from autograder.sandbox import SandboxKind
from autograder.sandbox.identity import identity
from autograder.sandbox.tags import IMAGE_TAG

JUDGES = ("torch", "numpy", "scipy")  # what judges compute with
SOURCES = frozenset((".py", ".html", ".css", ".txt", ".json", ".yaml", ".yml"))
ROOM = 256 << 20  # bytes on the disk that a submission and its judge may need


def machine(kind: SandboxKind, image: str | None) -> dict[str, str]:
    """What grading stands on here, by name: two machines with the same give the same marks and pages."""
    identity.cache_clear()  # an image may have been built since
    found = {"Python": platform.python_version(), "autograder": engine()}
    found |= {name: importlib.metadata.version(name) for name in JUDGES}
    return found | {f"the sandbox's {name}": value for name, value in identity(kind, image).items()}


@cache
def engine() -> str:
    """One hash over this program."""
    total = sha256()
    for path in sorted(path for path in ENGINE.rglob("*") if path.suffix in SOURCES):
        total.update(f"{path.relative_to(ENGINE).as_posix()}\0".encode() + sha256(path.read_bytes()).digest())
    return total.hexdigest()[:12]


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """What differs, as a sentence; "" if nothing does.

    Args:
        here: of a machine that is to help.
        there: of the one where the class is graded.
    """
    other = [
        f"{name} is {here.get(name, 'missing')} here and {there.get(name, 'missing')} there"
        for name in sorted(here.keys() | there.keys())
        if here.get(name) != there.get(name)
    ]
    if not other:
        return ""
    return f"this machine would grade otherwise than the one that asks it: {', '.join(other)}; install the same on both"


def ailing(kind: SandboxKind, image: str | None, folder: Path) -> str:
    """Why nothing can be graded here now, a sentence; "" if it can.

    Args:
        folder: where submissions lie while they are graded.
    """
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        return f"{free >> 20} MB are free in {folder}, {ROOM >> 20} MB are needed; make room there"
    if kind == "docker":
        from autograder.sandbox.engine import connect, engine_errors
        from autograder.sandbox.image import current

        try:
            with connect() as client, engine_errors():
                current(client, image or IMAGE_TAG)
        except (UserError, Infrastructure) as trouble:
            return str(trouble)
    return ""
