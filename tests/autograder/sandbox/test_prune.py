"""What `autograder doctor --prune` would remove, what it leaves, and that it asks."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import docker.errors
import pytest
from typer.testing import CliRunner

from autograder.cli import app
from autograder.sandbox import engine as engines
from autograder.sandbox import image as images
from autograder.sandbox.prune import Removable, removable, remove

MB = 2**20


def row(name: str, tags: list[str], content: str | None, size: int, shared: int = -1) -> dict[str, Any]:
    labels = None if content is None else {"autograder.content": content, "autograder.base": "debian"}
    return {"Id": f"sha256:{name * 20}", "RepoTags": tags, "Labels": labels, "Size": size, "SharedSize": shared}


class Engine:
    """An engine with a current image, one it replaced, two of courses, one of somebody else's, and a cache."""

    def __init__(self) -> None:
        current = images.content("debian")
        self.rows = [
            row("now", [images.IMAGE_TAG], "of an older worker", 900 * MB),
            row("old", [], "of an older worker", 900 * MB, 100 * MB),
            row("course", ["autograder-sandbox:with-1"], current, 1000 * MB),
            row("gone", ["autograder-sandbox:with-2"], "of an older worker", 1000 * MB, 700 * MB),
            row("other", [], None, 5000 * MB),
        ]
        self.cache = [{"InUse": False, "Size": 400 * MB}, {"InUse": True, "Size": 9 * MB}]
        self.removed: list[str] = []

    def df(self) -> dict[str, Any]:
        return {"Images": self.rows, "BuildCache": self.cache}

    def remove_image(self, name: str, force: bool) -> None:
        assert not force, "an image that a container uses must stay"
        if "gone" in name:
            raise docker.errors.APIError("conflict: a container uses it")
        self.removed.append(name)

    def prune_builds(self) -> dict[str, int]:
        self.removed.append("cache")
        return {"SpaceReclaimed": 390 * MB}


EXPECTED = [
    Removable("sha256:" + "old" * 20, "older image oldoldoldold", 800 * MB),
    Removable("sha256:" + "gone" * 20, "older image autograder-sandbox:with-2", 300 * MB),
    Removable(None, "cache of image builds", 400 * MB),
]


def test_older_images_of_ours_and_unused_cache_can_go_and_nothing_else() -> None:
    assert removable(Engine()) == EXPECTED


def test_what_a_container_uses_stays_and_is_not_counted() -> None:
    engine = Engine()
    assert remove(engine, EXPECTED) == (800 + 390) * MB
    assert engine.removed == [EXPECTED[0].image, "cache"]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    monkeypatch.setattr(engines, "connect", lambda: nullcontext(made))
    return made


def test_the_command_says_what_it_would_free_and_removes_nothing_unasked(engine: Engine) -> None:
    result = CliRunner().invoke(app, ["doctor", "--prune"])
    assert isinstance(result.exception, Exception)
    assert "add `--yes`" in str(result.exception)
    assert "400 MB  cache of image builds" in result.stdout
    assert "1.5 GB  in all" in result.stdout
    assert not engine.removed


def test_with_yes_it_removes_and_says_what_was_freed(engine: Engine) -> None:
    result = CliRunner().invoke(app, ["doctor", "--prune", "--yes"])
    assert result.exit_code == 0
    assert "1.2 GB freed." in result.stdout
    assert engine.removed


def test_where_there_is_nothing_it_says_so(engine: Engine) -> None:
    engine.rows, engine.cache = [], []
    assert "Nothing to remove" in CliRunner().invoke(app, ["doctor", "--prune"]).stdout
