"""Fixtures of more than one file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files, to see what remains; its name is short, for the names of sockets have to fit."""
    with tempfile.TemporaryDirectory(prefix="ag-", dir="/tmp") as folder:
        yield Path(folder)
