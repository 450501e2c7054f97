"""Names of images: one for each set of packages beside those every image has."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = "autograder-sandbox"
IMAGE_TAG = f"{REPOSITORY}:latest"
PACKAGES = Path(__file__).with_name("requirements.txt")  # of every image


def tag_of(requirements: Sequence[str]) -> str:
    """The name of the image with these packages beside those every image has."""
    if not requirements:
        return IMAGE_TAG
    return f"{REPOSITORY}:with-{hashlib.sha256(lines_of(requirements).encode()).hexdigest()[:12]}"


def lines_of(requirements: Sequence[str]) -> str:
    """The packages a line each, sorted, each once."""
    return "".join(f"{line}\n" for line in sorted({" ".join(line.split()) for line in requirements}))


def pinned(package: str) -> str:
    """The version of a package that every image has."""
    found = re.search(rf"^{package}==(\S+)$", PACKAGES.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]
