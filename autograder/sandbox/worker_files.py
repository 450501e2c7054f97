"""The worker's own files: what both kinds of sandbox start, and all that an image holds of us."""

from __future__ import annotations

from pathlib import Path

WORKER = Path(__file__).resolve().parent.parent / "worker"


def worker_files(folder: Path = WORKER) -> list[Path]:
    """Every module of the worker, its packages included, in a fixed order."""
    return sorted(folder.rglob("*.py"))
