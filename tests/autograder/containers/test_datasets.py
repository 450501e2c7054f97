"""A data set in a container: there for whoever asks, for reading only."""

from __future__ import annotations

from pathlib import Path

import pytest

from autograder.sandbox import Limits
from autograder.sandbox.docker import DockerProvider
from tests.autograder.inside import tell

pytestmark = pytest.mark.container

ASK = """
import json, os
from autograder import dataset
folder = dataset("numbers")
told = {"read": (folder / "slope.txt").read_text(), "where": str(folder), "refused": []}
for attempt in (
    lambda: (folder / "slope.txt").write_text("9"),
    lambda: (folder / "new.txt").write_text("9"),
    lambda: (folder / "slope.txt").unlink(),
    lambda: os.chmod(folder / "slope.txt", 0o777),
    lambda: dataset("others"),
):
    try:
        attempt()
    except OSError as error:
        told["refused"].append(type(error).__name__)
print(json.dumps(told))
"""


def test_a_data_set_is_read_and_can_not_be_changed(digest: str, tmp_path: Path) -> None:
    folder = tmp_path / "numbers"
    folder.mkdir()
    (folder / "slope.txt").write_text("5")
    (folder / "slope.txt").chmod(0o666)
    folder.chmod(0o777)  # the mount alone protects it
    with DockerProvider(Limits(memory_mb=512, wall_seconds=60), image=digest, datasets={"numbers": folder}) as source:
        told = tell(source.acquire(), ASK)
    assert (told["read"], told["where"]) == ("5", "/datasets/numbers")
    assert len(told["refused"]) == 5
    assert [path.name for path in folder.iterdir()] == ["slope.txt"]
    assert (folder / "slope.txt").read_text() == "5"
