"""Ended before any of its steps and started again, a command leaves the folder as if nothing had happened.

Here some steps of each command, drawn once, and those after something was removed; `python -m tests.kills` takes every
one. Random moments are tried in `test_batch.py`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.kills import Runs, World

DRAWN = 8  # steps of each command


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        yield World(tmp_path_factory.mktemp("kills"), patch)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("collect", {"commit", "os.mkdir", "open", "opened", "os.rename", "os.chmod", "os.rmdir"}),
        ("grade", {"commit", "os.mkdir", "open", "opened", "os.rename", "os.chmod", "os.link", "os.remove", "synced"}),
        ("best", {"commit", "os.mkdir", "open", "opened", "os.rename", "os.chmod", "synced"}),
        ("scores", {"commit", "open", "os.rename"}),
        ("publish", {"commit", "open", "opened", "os.rename", "os.chmod", "os.remove", "synced"}),
    ],
)
def test_ended_before_a_step_and_started_again_it_leaves_what_it_would_have_left(world: World, name, kinds):
    runs = Runs(world, name)
    assert {step.split()[0] for step in runs.steps} >= kinds
    draw = random.Random(len(name))
    removed = {at + 1 for at, step in enumerate(runs.steps[:-1]) if step.startswith("os.remove")}
    for last in sorted(removed | set(draw.sample(range(len(runs.steps)), DRAWN))):
        assert runs.differs(last) == "", runs.steps[last]


def test_what_is_left_behind_is_seen(world: World, monkeypatch: pytest.MonkeyPatch):
    runs = Runs(world, "collect")
    half = next(at for at, step in enumerate(runs.steps) if step.startswith("os.rename"))
    monkeypatch.setattr("autograder.grading.alone.remove_halves", lambda course, name: None)
    assert "begun: ['submitted/ada/.hw0-" in runs.differs(half)
