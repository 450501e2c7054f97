"""Runs checks with pytest: one outcome with one reason code per check, whatever happens.

The checks are ordinary pytest functions marked `graded(cell, points=…)`. They run in this process, against a `student`
whose code lives elsewhere. pytest itself is given the check files by name and nothing else: no conftest, no plugin, no
configuration file, no folder of a student.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

import pytest
import torch
from _pytest.assertion import util

from autograder.errors import AuthorError, AutograderError, Overrun, PartialCredit, Starved, StudentFault, UserError
from autograder.homework.checkfile import ARGUMENTS
from autograder.homework.handed import CourseData
from autograder.judge.figures import Figures
from autograder.judge.handing import NOTHING, Handed
from autograder.judge.kept import Kept
from autograder.judge.keys import Keys
from autograder.judge.messages import guarded, place_of
from autograder.judge.watchdog import as_overrun, watched
from autograder.report import CheckResult
from autograder.seeds import seed_from
from autograder.student import Channel, Student
from autograder.student.keyed import KeyedChannel
from autograder.vocabulary.measures import collecting

MESSAGE_CHARS = 2000


class CheckedChannel(Channel, Protocol):
    """A channel to a notebook that checks are run on: a `Session`, or a `LocalChannel` in a live notebook."""

    @property
    def files(self) -> Collection[str]:
        """Names of the files submitted beside the notebook."""

    def check(self, seconds: float | None = None, reply_mb: float | None = None) -> AbstractContextManager[None]:
        """Bounds the time of one check and the size of what comes back in it; None means the default."""


@dataclass
class Bench:
    """What the fixtures of one run of checks stand on.

    Args:
        channel: to the student's code.
        keys: of this run; every check derives its own from them.
        sources: what was handed in, by the names of places: "cell 3", "helper.py".
        training: the assignment's training section, a mapping for each task.
        only: run the checks of these cells alone.
        skip: names of checks that are left out.
        handed: what the notebook was handed, with what checks may know of it.
        data: the section `data` of assignment.yaml; None on a student's machine, which does not have it.
        datasets: folders of large data sets, by name.
        who: whose submission it is, for the TA.
        kept: what an earlier judge found before it died; given where the judge's own work is watched.
    """

    channel: CheckedChannel
    keys: Keys
    sources: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    only: frozenset[str] | None = None
    skip: frozenset[str] = frozenset()
    handed: Handed = field(default_factory=lambda: NOTHING)
    data: Mapping[str, Any] | None = None
    datasets: Mapping[str, Path] = field(default_factory=dict)
    who: str = ""
    kept: Kept | None = None


@dataclass(frozen=True)
class CheckFile:
    path: Path
    public: bool


def run_checks(files: Sequence[CheckFile], bench: Bench) -> list[CheckResult]:
    """Run every graded check of `files` and return one result each, in the order of the files.

    Checks that say `trains` run after all others, which thus meet a notebook in which nothing has been trained.

    Raises:
        UserError: a check file can not be imported or holds no check.
    """
    plugin = _Plugin(bench, {file.path.resolve(): file.public for file in files})
    arguments = [str(file.path.resolve()) for file in files]
    options = ["--import-mode=importlib", "--noconftest", "-p", "no:cacheprovider", "-p", "no:terminal"]
    options += ["-p", "no:logging", "-p", "no:unraisableexception", "-p", "no:threadexception", "-p", "no:doctest"]
    # A module's name follows from its path below the root, and two files may not share one: the root is the drive's.
    options += ["-c", os.devnull, f"--rootdir={files[0].path.resolve().anchor}", "--strict-markers"]
    environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "PYTEST_PLUGINS": ""}
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        with redirect_stdout(StringIO()):
            pytest.main([*options, *arguments], plugins=[plugin])
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    if plugin.trouble:
        raise UserError("; ".join(plugin.trouble))
    return [plugin.found[item] for item in plugin.order if item in plugin.found]


@dataclass
class _Plugin:
    """The pytest plugin: fixtures, selection and the translation of exceptions into outcomes."""

    bench: Bench
    public: dict[Path, bool]
    order: list[str] = field(default_factory=list)  # of the files; checks that train nothing run first
    found: dict[str, CheckResult] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)
    drawn: Figures = field(default_factory=Figures)

    def pytest_configure(self, config: pytest.Config) -> None:
        config.addinivalue_line(
            "markers", "graded(cell, points, seconds, trains, reply_mb): carries points of a graded cell"
        )

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            last = str(report.longrepr).strip().splitlines()[-1].removeprefix("E").strip()
            places = [str(path) for path in self.public if report.nodeid and str(path).endswith(report.nodeid)]
            self.trouble.append(f"the checks in {', '.join(places)} can not be collected: {last}")

    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector:
        """Of the folders on the way to the checks nothing but the way is looked at."""
        return _Way.from_parent(parent, path=path, ends=self.public)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        graded = [item for item in items if item.get_closest_marker("graded") is not None]
        if len(graded) < len(items):
            stray = next(item for item in items if item not in graded)
            self.trouble.append(f"{stray.nodeid} has no `graded` marker, so its points belong to no cell")
        wanted = [item for item in graded if self.bench.only is None or _cell(item) in self.bench.only]
        chosen = [item for item in wanted if getattr(item, "originalname", item.name) not in self.bench.skip]
        self.order = [item.nodeid for item in chosen]
        items[:] = sorted(chosen, key=lambda item: _marked(item).get("trains") is not None)  # before anything trained

    @pytest.fixture
    def student(self, request: pytest.FixtureRequest) -> Student:
        """The student's names as they stood when the graded cell had run."""
        bench = self.bench
        channel = KeyedChannel(bench.channel, bench.keys.calls(request.node.name))
        request.node.stash[_WORDS] = channel.words
        return Student(channel, scope=_cell(request.node), training=bench.training, files=bench.channel.files)

    @pytest.fixture
    def seed(self, request: pytest.FixtureRequest) -> int:
        """An integer of this run and this check, to make calls under."""
        return seed_from(self.bench.keys.calls(request.node.name), "seed") >> 15  # room for `seed + 1`

    @pytest.fixture
    def rng(self, request: pytest.FixtureRequest) -> torch.Generator:
        """A generator of this run and this check: its inputs."""
        return self.bench.keys.inputs(request.node.name)

    @pytest.fixture
    def law_rng(self, request: pytest.FixtureRequest) -> torch.Generator:
        """A generator of this student and this check: a law that stays the same whatever is handed in."""
        return self.bench.keys.law(request.node.name)

    @pytest.fixture
    def course_data(self) -> Callable[[str], CourseData]:
        """What the notebook was handed under a name, with its law: drawn in grading, the example at home."""
        return self.bench.handed.__getitem__

    @pytest.fixture
    def data(self) -> Mapping[str, Any]:
        """The section `data` of assignment.yaml, with a profile's values where one is chosen."""
        if self.bench.data is None:
            raise AuthorError("`data` is for hidden checks: thresholds stay with the instructor")
        return self.bench.data

    @pytest.fixture
    def datasets(self) -> Mapping[str, Path]:
        """The folders of large data sets, by name."""
        return self.bench.datasets

    @pytest.fixture
    def figures(self) -> Figures:
        """Collects pictures for the feedback page."""
        return self.drawn

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.drawn = Figures()
        begin = time.monotonic()
        faults: list[BaseException] = []
        item.stash[_FAULTS] = faults
        bounds = self.bench.channel.check(_marked(item).get("seconds"), _marked(item).get("reply_mb"))
        with bounds, collecting() as measures:
            done = yield
        kept = self.bench.kept
        known = None if kept is None else kept.finished(item.name)
        fresh = self._result(item, faults, time.monotonic() - begin).model_copy(update={"measures": measures})
        result = known or fresh
        self.found[item.nodeid] = result
        if kept is not None and known is None:
            kept.ends(result)
        return done

    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """True in the place of a call that is not needed, or that judges died of."""
        kept = self.bench.kept
        if kept is None:
            return None
        if kept.finished(pyfuncitem.name) is not None:
            return True
        if kept.stopped:
            raise Overrun(kept.trouble(pyfuncitem.name))
        kept.begins(pyfuncitem.name)
        return None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        # For a failed `==` pytest may work out a difference line by line: hours, on a text that a student made for it.
        before, util._reprcompare = util._reprcompare, None
        own = nullcontext() if self.bench.kept is None else watched(_marked(item).get("seconds"))
        try:
            with own, torch.random.fork_rng(devices=[]):  # what a check draws without a generator repeats as well
                torch.set_rng_state(self.bench.keys.inputs(f"{item.name}, without a generator").get_state())
                return (yield)
        finally:
            util._reprcompare = before

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> pytest.TestReport:
        """In the place of pytest's own, which spends a tenth of a second on a traceback that nobody prints."""
        if call.excinfo is not None:
            item.stash[_FAULTS].append(call.excinfo.value)
        assert call.when != "collect"
        outcome: Literal["passed", "failed"] = "passed" if call.excinfo is None else "failed"
        return pytest.TestReport(item.nodeid, item.location, {}, outcome, None, call.when)

    def _result(self, item: pytest.Item, faults: list[BaseException], seconds: float) -> CheckResult:
        function = getattr(item, "function", None)
        about = (function.__doc__ or "").strip().splitlines()
        share = getattr(item, "callspec", None)
        points = float(_marked(item).get("points", 0.0))
        if share is not None:  # a parametrised check splits its points equally over its parameters
            siblings = sum(1 for other in item.session.items if getattr(other, "function", None) is function)
            points /= siblings
        public = self.public[item.path.resolve()]
        said = verdict(as_overrun(faults[0])) if faults else PASSED
        if said["outcome"] == "infrastructure" and "detail" not in said:
            said["detail"] = f"check {item.name} on {self.bench.who}: {said['message']}"
        if faults and not public:
            said = guarded(said, faults[0], self.bench.sources, item.stash.get(_WORDS, ()))
        elif said.get("where"):
            said = said | {"where": place_of(said["where"], self.bench.sources) or said["where"]}
        known = {
            "id": item.name,
            "cell": _cell(item),
            "title": about[0] if about else item.name,
            "public": public,
            "points": points,
            "seconds": seconds,
            "figures": self.drawn.collected,
        }
        return CheckResult.model_validate(known | said)


class _Way(pytest.Directory):
    """A folder above a file of checks."""

    def __init__(self, *, ends: Iterable[Path], **known: Any) -> None:
        super().__init__(**known)
        self.ends = ends

    def collect(self) -> Iterator[pytest.Collector]:
        below = {self.path / end.relative_to(self.path).parts[0] for end in self.ends if self.path in end.parents}
        for path in sorted(below):
            if path.is_dir():
                yield self.ihook.pytest_collect_directory(path=path, parent=self)
            else:
                yield from self.ihook.pytest_collect_file(file_path=path, parent=self)


# Student code raises in another process: what these say of a name, they say of the check's own.
AUTHORS = (AuthorError, NameError, ImportError, SyntaxError)
AUTHOR = "this check is broken itself, and its author has to mend it"
PASSED: dict[str, Any] = {"outcome": "passed", "fraction": 1.0}
_FAULTS = pytest.StashKey[list[BaseException]]()
_WORDS = pytest.StashKey[Iterable[str]]()  # what student code called things


def _marked(item: pytest.Item) -> dict[str, Any]:
    """The arguments of an item's marker by name, also those given by position."""
    marker = item.get_closest_marker("graded")
    assert marker is not None
    return {**dict(zip(ARGUMENTS, marker.args, strict=False)), **marker.kwargs}


def _cell(item: pytest.Item) -> str:
    return str(_marked(item)["cell"])


def verdict(fault: BaseException) -> dict[str, Any]:
    """Outcome, fraction, reason and messages for what a check raised."""
    if isinstance(fault, StudentFault):
        partial = isinstance(fault, PartialCredit)
        return {
            "outcome": "partial" if partial else "failed",
            "fraction": fault.fraction if isinstance(fault, PartialCredit) else 0.0,
            "reason": fault.reason,
            "message": fault.message[:MESSAGE_CHARS],
            "hint": fault.hint,
            "where": fault.where,
            "detail": fault.detail,
            "stumbled": fault.doubtful,
        }
    if isinstance(fault, AUTHORS):
        detail = f"{type(fault).__name__}: {fault}\n{_trace(fault)}"
        return {"outcome": "infrastructure", "fraction": 0.0, "message": AUTHOR, "detail": detail, "stumbled": True}
    if isinstance(fault, (AutograderError, OSError)):  # of this machine: student code raises in another process
        told = {"message": str(fault)[:MESSAGE_CHARS], "starved": isinstance(fault, Starved)}
        return {"outcome": "infrastructure", "fraction": 0.0, "overran": isinstance(fault, Overrun), **told}
    known = {"outcome": "failed", "fraction": 0.0, "reason": "wrong"}
    if isinstance(fault, AssertionError):
        text = str(fault).split("\n", 1)[0]
        message = "the property does not hold" if not text or text.startswith("assert ") else text
        return known | {"message": message[:MESSAGE_CHARS], "detail": _trace(fault)}
    # The check has met something it was never promised, a None where a tensor was stated; or it is broken itself. What
    # it does on the solution decides (`judge.control`).
    message = f"what your code returned could not be used here ({type(fault).__name__}: {str(fault)[:300]})"
    detail = f"{type(fault).__name__}: {fault}\n{_trace(fault)}"
    return known | {"message": message[:MESSAGE_CHARS], "detail": detail, "stumbled": True}


def _trace(fault: BaseException) -> str:
    return "".join(traceback.format_exception(type(fault), fault, _below_pytest(fault.__traceback__)))[-8000:]


def _below_pytest(step: TracebackType | None) -> TracebackType | None:
    """A traceback from the check's own frame on; the whole of it if there is none."""
    found = step
    while found is not None:
        file = Path(found.tb_frame.f_code.co_filename)
        if file != Path(__file__) and not {"_pytest", "pluggy"} & set(file.parts):
            break
        found = found.tb_next
    return found or step
