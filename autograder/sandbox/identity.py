"""What tells the place in which submissions run from another: interpreter and packages, not the digest of an image.

A new probe makes another image, and no other interpreter and no other packages: marks stay.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
from functools import cache
from hashlib import sha256
from pathlib import Path

import docker.errors

from autograder.sandbox.engine import connect, engine_errors
from autograder.sandbox.protocol import SandboxKind
from autograder.sandbox.tags import PACKAGES


@cache
def identity(kind: SandboxKind, image: str | None) -> dict[str, str]:
    """Interpreter and packages of a sandbox, by name."""
    return _of_image(image) if kind == "docker" and image is not None else _of_process()


def _of_image(tag: str) -> dict[str, str]:
    with connect() as client, engine_errors():
        try:
            labels = client.inspect_image(tag)["Config"].get("Labels") or {}
        except docker.errors.ImageNotFound:
            return {}
    known = {name: labels.get(f"autograder.{name}", "") for name in ("base", "python", "packages", "requirements")}
    return {"sandbox": "docker"} | {name: value for name, value in known.items() if value}


def _of_process() -> dict[str, str]:
    found = {"sandbox": "process", "python": platform.python_version()}
    for line in PACKAGES.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"[A-Za-z0-9._-]+", line):
            try:
                found[match.group()] = importlib.metadata.version(match.group())
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def packages_of(wheelhouse: Path) -> str:
    """One hash over the packages of an image, each with its version."""
    return sha256("\n".join(sorted(path.name for path in wheelhouse.glob("*.whl"))).encode()).hexdigest()[:16]
