"""The source of sandboxes of this judge process: opened once, warm from one submission to the next."""

from __future__ import annotations

from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path

from autograder.sandbox import Limits, Provider, SandboxKind, open_provider


@cache
def provider_of(
    kind: SandboxKind,
    limits: Limits,
    gpu: str | None,
    image: str | None,
    datasets: tuple[tuple[str, Path], ...] = (),
) -> Provider:
    """One provider per process, closed when the process ends."""
    provider = open_provider(kind, limits, gpu=gpu, image=image, datasets=dict(datasets))
    _open.append(provider)
    Finalize(None, close_providers, exitpriority=10)
    provider.prestart()
    return provider


_open: list[Provider] = []


def close_providers() -> None:
    """End every sandbox of this process."""
    provider_of.cache_clear()
    while _open:
        _open.pop().close()
