"""Where a submitted file lands: below the notebook's folder, whatever its name says."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from .calling import Fault

DEEPEST = 12  # folders in a name


def place(name: str, content: Any) -> None:
    """Writes a submitted file below the working directory; its folders are made, and no link is followed.

    Raises:
        Fault: the name could lead elsewhere.
    """
    *folders, file = checked(name)
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for folder in folders:
            here = _step(here, folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(file, flags, 0o644, dir_fd=here), "wb") as written:
            written.write(bytes(content.numpy()))
    finally:
        os.close(here)


def checked(name: str) -> list[str]:
    """The parts of a relative name, its folders first. Raises Fault for anything that could lead elsewhere."""
    parts = name.split("/")
    if len(parts) > DEEPEST or not all(map(_is_plain, parts)):
        raise Fault("exception", f"{name[:100]!r} is not the name of a file beside the notebook")
    return parts


def _is_plain(part: str) -> bool:
    return part not in ("", ".", "..") and "\0" not in part and len(part.encode()) <= 255


def _step(here: int, folder: str) -> int:
    """Opens a folder in the one open as `here`, which is closed."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o755, dir_fd=here)
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
    finally:
        os.close(here)
