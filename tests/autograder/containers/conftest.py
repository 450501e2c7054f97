"""An engine with the current image; skipped where there is none, unless containers are required."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from autograder.errors import UserError
from autograder.sandbox import Limits, image
from autograder.sandbox.docker import DockerProvider, DockerSandbox, Engine, connect


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A client of the engine; the image is built if anything in it changed."""
    try:
        image.build()
        client = connect()
    except UserError as error:
        if os.environ.get("AUTOGRADER_REQUIRE_CONTAINERS") or os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    yield client
    client.close()


@pytest.fixture(scope="session")
def digest(engine: Engine) -> str:
    """The image of this test run, whatever is built meanwhile."""
    return image.current(engine)


@pytest.fixture(scope="module")
def provider(digest: str) -> Iterator[DockerProvider]:
    """Sandboxes with small limits, so that reaching one costs little."""
    limits = Limits(memory_mb=512, pids=64, wall_seconds=60, tmp_mb=16, shm_mb=16, tmp_files=500, file_mb=8)
    with DockerProvider(limits, image=digest) as source:
        yield source


@pytest.fixture
def sandbox(provider: DockerProvider) -> Iterator[DockerSandbox]:
    """A fresh sandbox; the next one is started meanwhile."""
    acquired = provider.acquire()
    provider.prestart()
    yield acquired
    acquired.kill()
