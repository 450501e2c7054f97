"""A grader that is stopped while containers run leaves none of them, and no process and no file."""

from __future__ import annotations

import signal

import pytest

from autograder.sandbox.docker import LABEL, Engine
from tests.autograder.course_factory import NAME
from tests.autograder.running import class_with_sleepers, start, stop_when_one_is_graded, wait_until

pytestmark = pytest.mark.container


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_stopped_grader_leaves_no_container(engine: Engine, digest: str, tmp_path, temporary, signum) -> None:
    course, _ = class_with_sleepers(tmp_path)
    volumes = len(engine.volumes()["Volumes"] or [])
    command = ("grade", NAME, "--course", course.root, "--sandbox", "docker", "--jobs", "2")
    grader = start(*command, environment={"TMPDIR": str(temporary)})
    started = stop_when_one_is_graded(grader, course, signum)

    def containers() -> list[str]:
        rows = engine.containers(all=True, filters={"label": LABEL})
        return [row["Id"] for row in rows if int(row["Labels"][LABEL].split("-")[2]) in started]

    if signum == signal.SIGINT:  # the grader itself has seen to it before it ended
        assert containers() == []
    wait_until(lambda: not containers())
    wait_until(lambda: not any(temporary.glob("*/*")), what=lambda: list(temporary.rglob("*")))
    assert len(engine.volumes()["Volumes"] or []) == volumes
