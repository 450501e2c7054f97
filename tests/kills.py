"""Ends the grader at every single step, starts it again, and compares what lies in the course folder afterwards.

    python -m tests.kills                 # every step of each command; minutes
    python -m tests.kills grade           # of one command
    pytest tests/autograder/grading/test_kills.py    # some steps of each

A step is whatever changes a file of the course: opening one to write, having opened it, a sync, a rename, a link, a
removal, a new mode or folder, and each commit of a database. They are counted from outside, by an audit hook, so that
none can be forgotten. The grader runs in a forked child and ends itself with SIGKILL right before step k, which is
right after step k - 1. Submissions are not run: their reports were made before.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from autograder.commands import again, for_tas
from autograder.course.course import Course, load_course
from autograder.grading import batch, stale
from autograder.grading.results import Options
from autograder.homework.assignment import load_assignment
from autograder.judge.job import Job
from autograder.records.gradebook import dump
from autograder.records.log import Override, append
from autograder.records.record import FILE, Record
from autograder.records.rendering import Rendered, grade_and_render, rendered
from autograder.records.state import State
from autograder.report import Report
from autograder.sandbox import opening
from autograder.submissions.collect import Look
from tests.autograder.course_factory import ANSWERS, NAME, answered, to_bytes
from tests.autograder.grading.test_batch import WRONG, make_course
from tests.autograder.providers import ForkProvider, leftovers

FILE_EVENTS = {"os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate"}
TIMES = {"came", "stat"}  # of a state
AT = datetime(2026, 1, 5, tzinfo=UTC)
COLLECTED = re.compile(rb'"came": "[^"]*"')  # when, in what lies beside a hand-in
ENDED = -signal.SIGKILL


class Steps:
    """Counts what changes files below a folder, and ends this process before a step that is named.

    Args:
        root: the course folder.
        last: the step before which the process ends; None for none.
    """

    def __init__(self, root: Path, last: int | None = None) -> None:
        self.root, self.last = str(root.resolve()), last
        self.seen: list[str] = []
        self._opened = io.open
        self._synced = os.fsync
        self._connected = sqlite3.connect

    def watch(self) -> None:
        """From now on, for as long as this process lives."""
        io.open = self._open  # type: ignore[assignment]
        os.fsync = self._fsync
        sqlite3.connect = sqlite3.dbapi2.connect = self._connect  # type: ignore[assignment]
        sys.addaudithook(self._hook)

    def step(self, what: str) -> None:
        """One more."""
        if len(self.seen) == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen.append(what)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and self._is_mine(path):
                self.step(f"open {path}")
        elif event in FILE_EVENTS:
            inside = len(arguments) > 1 and isinstance(arguments[-1], int) and arguments[-1] >= 0
            if any(map(self._is_mine, arguments)) or (inside and not isinstance(arguments[0], int)):
                self.step(f"{event} {arguments}")

    def _connect(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = self._connected(*arguments, **options)
        connection.set_trace_callback(self._statement)
        return connection

    def _statement(self, statement: str) -> None:
        if statement.lstrip().upper().startswith("COMMIT"):
            self.step("commit")

    def _open(self, file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        opened = self._opened(file, mode, *arguments, **options)
        if set(mode) & set("wax+") and (isinstance(file, int) or self._is_mine(file)):
            self.step(f"opened {file}")
        return opened

    def _fsync(self, descriptor: int) -> None:
        self._synced(descriptor)
        self.step("synced")

    def _is_mine(self, path: object) -> bool:
        if not isinstance(path, str | os.PathLike):
            return False
        return str(Path.cwd() / path).startswith(self.root + os.sep)


@dataclass(frozen=True)
class Scenario:
    """One command of the grader's.

    Args:
        prepare: makes the course folder it is started in.
        run: the command, given the course folder.
    """

    prepare: Callable[[Path], object]
    run: Callable[[Path], object]


class World:
    """What is needed to run a command in this process: a class, its reports, and no sandbox."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "first"  # beside the homework
        patch.setattr(opening, "is_root", lambda: False)
        patch.setattr(batch, "sweep", lambda: [])
        patch.setattr(batch, "Reader", lambda record: contextlib.nullcontext(Look()))
        course = make_course(folder / "first", {"ada": ANSWERS, "bob": WRONG})
        (course.submitted_dir / "ada" / NAME / "notes.txt").write_text("beside it")
        self.export = folder / "export"
        shutil.copytree(course.submitted_dir, self.export)
        (self.export / "stranger").mkdir()
        (self.export / "stranger" / f"{NAME}.ipynb").write_text("{}")
        self.assignment = load_assignment(course.files(NAME))
        self.worse = folder / "worse" / "ada" / f"{NAME}.ipynb"
        self.worse.parent.mkdir(parents=True)
        self.worse.write_bytes(to_bytes(answered(self.assignment.template, WRONG)))
        basis, trace = stale.worked_out(self.assignment, {"sandbox": "process"})
        self.bases = {"old": basis, "new": replace(basis, labels={**basis.labels, next(iter(basis.labels)): "other"})}
        patch.setattr(stale, "worked_out", lambda assignment, where: (self.bases[self.now], trace))
        patch.setattr(stale.Trace, "holds", lambda trace, assignment, where: False)
        self.now = "old"
        self.reports: dict[str, Report] = {}
        patch.setattr(batch, "run_jobs", self._graded)
        source = ForkProvider()
        patch.setattr("autograder.judge.grade.provider_of", lambda *arguments: source)
        self.grade(course)
        source.close()
        self.reports = {who: Report.load(course.report_path(NAME, who)) for who in ("ada", "bob")}
        patch.setattr(batch, "run_jobs", self._replayed)

    def grade(self, course: Course) -> None:
        """As the command does, without its table."""
        batch.grade_course(course, NAME, None, Options(sandbox="process"))

    def empty(self, folder: Path) -> None:
        """A course to which nobody has handed in."""
        folder.mkdir()
        for name in ("course.yaml", "students.csv"):
            text = (self.folder / "course" / name).read_text(encoding="utf-8")
            (folder / name).write_text(text.replace(": ../", f": {self.folder}/"), encoding="utf-8")

    def graded(self, folder: Path) -> None:
        """A course in which all is graded; ada's newer marks are proposed, bob's are stale and not run again yet."""
        self.empty(folder)
        shutil.copytree(self.export, folder / "submitted")
        course = load_course(folder)
        self.now = "old"
        self.grade(course)
        self.now = "new"
        batch.grade_course(course, NAME, None, Options(sandbox="process", students=frozenset({"ada"})))

    def several(self, folder: Path) -> None:
        """A course in which the best of several hand-ins counts; of ada's the worse one came first."""
        self.empty(folder)
        with (folder / "course.yaml").open("a", encoding="utf-8") as file:
            file.write("late: {submission: best}\n")
        self.now = "old"
        for_tas.collect(NAME, self.worse.parent.parent, folder)

    def decided(self, folder: Path) -> None:
        """A graded course in which somebody gave points and the late rule was written; nobody entered it yet."""
        self.graded(folder)
        with (folder / "course.yaml").open("a", encoding="utf-8") as file:
            file.write(f"due: {{{NAME}: 2026-01-01T00:00:00Z}}\nlate: {{per_day: 10}}\n")
        (folder / "extensions.yaml").write_text(f"bob: {{{NAME}: {{until: 2026-01-09T00:00:00Z, reason: illness}}}}\n")
        for who in ("ada", "bob"):
            with Record(folder, NAME) as record:
                record.change(who, submitted="2026-01-03T12:00:00+00:00")
            entry = Override(at=AT, by="leo", why="w", student=who, homework=NAME, cell="line", points=0.5)
            append(folder / "log.jsonl", entry)

    def _graded(self, jobs: list[Job], workers: int, work: Any, started: object) -> Iterator[tuple[Job, Rendered]]:
        for job in jobs:
            yield job, work(job)

    def _replayed(self, jobs: list[Job], workers: int, work: Any, started: object) -> Iterator[tuple[Job, Rendered]]:
        """Of what stands on another basis, ada gets nothing and bob everything."""
        for job in jobs:
            if work is not grade_and_render:
                yield job, work(job)
                continue
            report, basis = self.reports[job.submission.student], self.bases[self.now]
            another = job.submission.sha256 != report.submission_sha256
            checks = [c.model_copy(update={"basis": basis.of(c.id.partition("[")[0])}) for c in report.checks]
            cells = report.cells
            if self.now == "new" or another:
                earned = {"ada": 0.0, "bob": 2.0}[report.student]
                cells = [c.model_copy(update={"earned": earned}) if c.cell == "double" else c for c in cells]
            known = {"checks": checks, "cells": cells, "basis": basis.whole}
            made = report.model_copy(update=known | {"submission_sha256": job.submission.sha256})
            yield job, rendered(self.assignment, made, job.submission.read(), job.remarks)

    @property
    def scenarios(self) -> Mapping[str, Scenario]:
        """The commands, by name."""
        options: dict[str, Any] = {"sandbox": for_tas.SandboxChoice.process, "jobs": 1}
        return {
            "collect": Scenario(self.empty, lambda root: for_tas.collect(NAME, self.export, root)),
            "grade": Scenario(self.empty, lambda root: for_tas.grade(NAME, self.export, root, **options)),
            "best": Scenario(self.several, lambda root: for_tas.grade(NAME, self.export, root, **options)),
            "scores": Scenario(self.decided, for_tas.scores),
            "publish": Scenario(self.graded, lambda root: again.regrade(NAME, root, publish=True, **options)),
        }


def in_child(action: Callable[[], object]) -> int:
    """Do something in a forked child, which says nothing; its exit code, negative if a signal ended it."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Runs:
    """One scenario, run many times, each in a copy of the same course."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name, self.scenario = world, name, world.scenarios[name]
        self.start = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=world.folder)) / "start"
        self.scenario.prepare(self.start)
        root = self.fresh("undisturbed")
        counted = self.start.with_name("steps")
        assert in_child(lambda: self._watched(root, None, counted)) == 0
        self.steps = counted.read_text().splitlines()
        self.expected = contents(root)

    def fresh(self, number: object) -> Path:
        """A course folder to run in."""
        return Path(shutil.copytree(self.start, self.start.with_name(f"{self.name}-{number}")))

    def differs(self, last: int) -> str:
        """End the grader before a step, start it again; what is then other than undisturbed, "" if nothing is."""
        root = self.fresh(last)
        code = in_child(lambda: self._watched(root, last, None))
        if code != ENDED:
            return f"it was to end at step {last} and left with {code}"
        if (code := in_child(lambda: self._quietly(root))) != 0:
            return f"started again it left with {code}"
        found = contents(root)
        shutil.rmtree(root)
        return "; ".join(
            f"{what}: {found.get(what)!r:.300} instead of {self.expected.get(what)!r:.300}"
            for what in sorted(found.keys() | self.expected.keys())
            if found.get(what) != self.expected.get(what)
        )

    def _quietly(self, root: Path) -> None:
        with contextlib.suppress(typer.Exit):  # somebody could not be graded
            self.scenario.run(root)

    def _watched(self, root: Path, last: int | None, counted: Path | None) -> None:
        steps = Steps(root, last)
        steps.watch()
        self._quietly(root)
        if counted is not None:
            counted.write_text("\n".join(step.replace("\n", " ") for step in steps.seen))


def contents(root: Path) -> dict[str, object]:
    """Everything that lies in a course folder, times aside."""
    databases = {"gradebook.db", FILE}
    found: dict[str, object] = {
        str(path.relative_to(root)): COLLECTED.sub(b"", path.read_bytes())
        for path in root.rglob("*")
        if path.is_file() and path.name not in databases and not path.name.endswith("-journal")
    }
    if (root / "gradebook.db").exists():
        found["gradebook"] = dump(load_course(root).gradebook_url)
    with Record(root, NAME) as record:
        found |= {f"state of {state.who}": _timeless(state) for state in record.states()}
        for table in ("homework", "notebook", "brief", "outline", "written"):
            found[f"table {table}"] = sorted(record._connection.execute(f"SELECT * FROM {table}"))
        found["places"] = sorted((name, who) for name, (_, who) in record.places().items())
    return found | {"begun": leftovers(root)}


def _timeless(state: State) -> dict[str, object]:
    return {name: getattr(state, name) for name in State.__slots__ if name not in TIMES}


def main() -> None:
    """Every step of the commands that are named, or of all; the exit code says whether one left a trace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", choices=[[], "collect", "grade", "best", "scores", "publish"])
    wanted = parser.parse_args().commands or ["collect", "grade", "publish"]
    wrong = 0
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        world = World(Path(folder), patch)
        for name in wanted:
            runs = Runs(world, name)
            for last, what in enumerate(runs.steps):
                if said := runs.differs(last):
                    wrong += 1
                    print(f"{name}, ended before step {last} ({what}): {said}", flush=True)
            print(f"{name}: ended before each of {len(runs.steps)} steps and started again", flush=True)
    sys.exit(min(wrong, 1))


if __name__ == "__main__":
    main()
