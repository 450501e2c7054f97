"""Fixtures of more than one file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.sandbox import opening


@pytest.fixture(autouse=True)
def no_root() -> Iterator[None]:
    """Tests may run as root, and name the process sandbox once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "is_root", lambda: False)
        yield


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files, to see what remains; its name is short, for the names of sockets have to fit."""
    with tempfile.TemporaryDirectory(prefix="ag-", dir="/tmp") as folder:
        yield Path(folder)
