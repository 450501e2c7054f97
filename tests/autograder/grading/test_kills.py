# ruff: noqa: F811 (fixtures that another file defines)
"""The grader is ended before each of its writes, renames and commits in turn; started again, nothing tells it was."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from autograder.course.course import Course, load_course
from autograder.grading import batch as module
from autograder.grading.batch import Options, grade_course
from autograder.records.gradebook import dump
from autograder.records.record import Record
from autograder.records.rendering import rendered
from autograder.records.state import State
from autograder.report import Report
from tests.autograder.course_factory import ANSWERS, NAME
from tests.autograder.grading.test_batch import (  # noqa: F401 (fixtures)
    WRONG,
    here,
    in_child,
    make_course,
    provider,
    run,
)

WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link"}
TIMES = {"came": "", "stat": ""}


@pytest.fixture(autouse=True)
def patient(here: list[str], provider: object) -> None:
    """Jobs run in this process."""


class Ender:
    """Counts what a process is about to write below a folder, and ends it before the n-th; hooks stay for good, so it
    is for a forked child."""

    def __init__(self, folder: Path, last: int) -> None:
        self.folder, self.last, self.count = str(folder), last, 0
        sys.addaudithook(self.heard)

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "sqlite3.connect/handle":
            arguments[0].set_trace_callback(self.told)
        elif event == "open":
            path, _, flags = arguments
            if isinstance(path, str | os.PathLike) and flags & (os.O_WRONLY | os.O_RDWR):
                self.step(str(path))
        elif event in WRITES:
            self.step(str(arguments[0]))

    def told(self, statement: str) -> None:
        if statement.startswith("COMMIT"):
            self.step(self.folder)

    def step(self, path: str) -> None:
        if path.startswith(self.folder):
            self.count += 1
            if self.count == self.last:
                os.kill(os.getpid(), signal.SIGKILL)


def content(course: Course) -> dict[str, object]:
    """All that lies in the folder, times aside."""
    with Record(course.root, NAME) as record:
        states = [without_times(state) for state in record.states()]
        briefs = list(record.briefs())
    databases = ("gradebook.db", "state.db")
    files = {
        str(path.relative_to(course.root)): path.read_bytes()
        for path in sorted(course.root.rglob("*"))
        if path.is_file() and path.name not in databases
    }
    return {"files": files, "grades": dump(course.gradebook_url), "states": states, "briefs": briefs}


def without_times(state: State) -> State:
    return replace(state, **TIMES)


@pytest.mark.parametrize("again", [False, True], ids=["the first time", "after a change"])
def test_a_grader_ended_before_any_write_and_started_again_ends_like_an_undisturbed_one(tmp_path, monkeypatch, again):
    begun = make_course(tmp_path / "begun", {"ada": ANSWERS, "bob": WRONG})
    export = tmp_path / "export"
    shutil.copytree(begun.submitted_dir, export)
    reports = {report.student: report for report in run(begun).reports}
    (export / "bob" / NAME / f"{NAME}.ipynb").write_text("no notebook")
    if not again:
        shutil.rmtree(begun.submitted_dir)
        for path in begun.root.iterdir():
            if path.name not in ("course.yaml", "students.csv"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    else:
        (export / "ada" / NAME / "more.txt").write_text("handed in with it")

    def replay(jobs, workers, work, started):
        for job in jobs:
            submission = job.submission.read()
            report = reports[submission.student].model_copy(update={"submission_sha256": submission.sha256})
            yield job, rendered(work.args[0], module.load_assignment(job.homework), report, submission)

    monkeypatch.setattr(module, "run_jobs", replay)

    def copied(name: str) -> Course:
        folder = begun.root.parent / name
        shutil.copytree(begun.root, folder)
        return load_course(folder)

    def action(course: Course) -> Callable[[], object]:
        return partial(grade_course, course, NAME, export, Options(sandbox="process"))

    undisturbed = copied("undisturbed")
    action(undisturbed)()
    expected = content(undisturbed)
    ended = 0
    for last in range(1, 1000):
        course = copied("disturbed")

        def until(course: Course = course, last: int = last) -> None:
            Ender(course.root, last)
            action(course)()

        code = in_child(until)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        ended += 1
        action(course)()
        found = content(course)
        assert found["files"].keys() == expected["files"].keys(), last
        assert found == expected, last
        shutil.rmtree(course.root)
    assert ended > 20
    assert isinstance(Report.load(undisturbed.report_path(NAME, "ada")), Report)
