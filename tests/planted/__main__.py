"""Runs the planted errors and prints which test caught which: python -m tests.planted.

Each error lives in a forked child for as long as one run of `pytest -x` on the tests of its file takes. The parent has
everything heavy imported already, but nothing of the reference models; in the child an import hook serves the changed
source. The checkout is never written to.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # children fork: no thread pools; two of them share the machine
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"

import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import NoReturn

import pytest
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.planted.entries import EVERY_CALLABLE, ROOT, Planted, UnusableError, every_file, load
from tests.planted.mutants import KINDS, Mutant, drawn, equivalent

HEAVY = (
    "numpy.testing",
    "scipy.integrate",
    "scipy.linalg",
    "scipy.optimize",
    "scipy.special",
    "scipy.stats",
    "sklearn.datasets",
    "sklearn.mixture",
    "torch.distributions",
    "torch.func",
    "torch.nn.functional",
    "safetensors.torch",
    "torchdiffeq",
    "torchmetrics",
    "zuko",
    "ot",
)
LEAST = 0.95  # of each kind of random mutants
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
talk = Console(stderr=True)


# --- in the child


class Changed(importlib.abc.MetaPathFinder):
    """Serves one module from a text instead of its file."""

    def __init__(self, module: str, source: str) -> None:
        self.module, self.source = module, source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert spec is not None
        assert isinstance(spec.loader, importlib.machinery.SourceFileLoader)
        spec.loader = FromText(fullname, spec.loader.path, self.source)
        return spec


class FromText(importlib.machinery.SourceFileLoader):
    """Compiles the text it is given; neither reads nor writes a cache."""

    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self.source = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.source, self.path, "exec", dont_inherit=True)


class Witness:
    """A pytest plugin that remembers the first test that failed, and whether anything failed before the tests."""

    def __init__(self) -> None:
        self.failed: str | None = None
        self.broken: str | None = None
        self.passed = 0

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken = str(report.longrepr).strip().splitlines()[-1]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid.split("::", 1)[1]
        self.passed += report.passed and report.when == "call"


def in_child(tests: Sequence[Path], planted: Planted | Mutant | None, answer: Path) -> None:
    """Runs the tests, with or without an error, and leaves a JSON answer; never returns."""
    os.setsid()
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    log = os.open(answer.with_suffix(".log"), os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if planted is not None:
        sys.meta_path.insert(0, Changed(planted.module, planted.source))
    witness = Witness()
    options = ["-x", "-q", "-p", "no:cacheprovider", "--no-header"]
    code = int(pytest.main([*options, *map(str, tests)], plugins=[witness]))
    if code == 0 and planted is not None and planted.callables is not None:
        code = int(pytest.main([*options, str(EVERY_CALLABLE), "-k", planted.callables], plugins=[witness]))
        code = 0 if code == 5 else code  # nothing of this module stands in the tables
    said = {"code": code, "failed": witness.failed, "broken": witness.broken, "passed": witness.passed}
    answer.write_text(json.dumps(said))
    sys.stdout.flush()
    os._exit(0)


# --- in the parent


@dataclass(frozen=True)
class Run:
    """What to run: the tests of some files, with one planted error or none."""

    tests: tuple[Path, ...]
    planted: Planted | Mutant | None = None


@dataclass(frozen=True)
class Outcome:
    """caught_by: the test that failed, None when none did; trouble: why there is no verdict, "" when there is one."""

    run: Run
    seconds: float
    caught_by: str | None
    trouble: str


def outcome(run: Run, seconds: float, answer: Path) -> Outcome:
    """Reads what a child left; one that left nothing was killed, or died."""
    if not answer.exists():
        return Outcome(run, seconds, None, "the tests did not end")
    said = json.loads(answer.read_text())
    if said["broken"] and isinstance(
        run.planted, Mutant
    ):  # it shows before any test: an entry written by hand must not
        return Outcome(run, seconds, "the tests cannot even be collected", "")
    trouble = said["broken"] or ("" if said["passed"] or said["failed"] else "no test ran")
    if said["code"] not in (0, 1):
        trouble = trouble or f"pytest ended with code {said['code']}"
    return Outcome(run, seconds, None if trouble else said["failed"], trouble)


def run_all(runs: Iterable[Run], *, jobs: int, limit: float) -> Generator[Outcome, None, None]:
    """Forks a child for each run, `jobs` at a time; one that takes longer than `limit` seconds is killed."""
    waiting = list(runs)[::-1]
    running: dict[int, tuple[Run, Path, float]] = {}
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    run, answer = waiting.pop(), Path(folder) / f"{len(waiting)}.json"
                    sys.stdout.flush()
                    with undisturbed():  # a signal between the two would leave a child that nobody knows
                        pid = os.fork()
                        if pid == 0:
                            try:
                                in_child(run.tests, run.planted, answer)
                            finally:
                                os._exit(1)
                        running[pid] = (run, answer, time.monotonic())
                for pid, (run, answer, start) in list(running.items()):
                    seconds = time.monotonic() - start
                    if seconds > limit:
                        _kill(pid)
                    elif os.waitpid(pid, os.WNOHANG)[0] == 0:
                        continue
                    del running[pid]
                    yield outcome(run, seconds, answer)
                time.sleep(0.01)
        finally:
            with undisturbed():
                for pid in running:
                    _kill(pid)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """A signal becomes an exit, so that whoever runs children kills them on the way out: they have left our group."""
    raise SystemExit(128 + number)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Signals that end the run wait until it is over."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kill(pid: int) -> None:
    for kill in (os.killpg, os.kill):  # its group may not exist yet
        try:
            kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    os.waitpid(pid, 0)


def with_progress(runs: list[Run], title: str, *, jobs: int, limit: float) -> list[Outcome]:
    """All outcomes, in the order of the runs, with a bar meanwhile."""
    found = {}
    with Progress(console=talk, transient=True, auto_refresh=False) as progress:  # no thread: this process forks
        task = progress.add_task(title, total=len(runs))
        with closing(run_all(runs, jobs=jobs, limit=limit)) as outcomes:
            for result in outcomes:
                found[id(result.run)] = result
                progress.update(task, advance=1, refresh=True)
    return [found[id(run)] for run in runs]


def spread(entries: list[Planted], n: int, seed: int) -> list[Planted]:
    """n entries drawn so that every folder gives about as many, and within a folder every family."""
    dice = random.Random(seed)
    queues: dict[str, dict[str, list[Planted]]] = {}
    for entry in dice.sample(entries, len(entries)):
        queues.setdefault(entry.folder, {}).setdefault(entry.family, []).append(entry)
    chosen: list[Planted] = []
    while queues and len(chosen) < n:
        for folder in sorted(queues):
            families = queues[folder]
            family = next(iter(families))
            rest = families.pop(family)
            chosen.append(rest.pop())
            if rest:
                families[family] = rest  # at the end of the queue
            elif not families:
                del queues[folder]
    return chosen[:n]


def chosen(only: str | None, family: str | None, sample: int | None, seed: int) -> list[Planted]:
    """The entries asked for; ends with code 2 and a sentence when there are none."""
    try:
        entries = [entry for file in every_file(only) for entry in load(file)]
    except UnusableError as error:
        raise _refuse(str(error)) from None
    entries = [entry for entry in entries if family in (None, entry.family)]
    if not entries:
        raise _refuse("there is no planted error of that folder and family")
    return entries if sample is None else spread(entries, sample, seed)


def share(entries: Sequence[Planted | Mutant], part: str) -> list[Planted | Mutant]:
    """The entries of one part, "2/4" say; a part's changes lie close to each other, so that it needs few test files."""
    i, _, n = part.partition("/")
    if not (i.isdigit() and n.isdigit() and 1 <= int(i) <= int(n) <= len(entries)):
        raise _refuse(f"--part is I/N with 1 <= I <= N, at most as many as there are errors, got {part}")
    ordered = sorted(entries, key=lambda entry: entry.file)
    return ordered[len(ordered) * (int(i) - 1) // int(n) : len(ordered) * int(i) // int(n)]


def _refuse(sentence: str) -> typer.Exit:
    talk.print(sentence, style="red", markup=False, soft_wrap=True)
    return typer.Exit(2)


def table(outcomes: list[Outcome]) -> Table:
    """A row an error: where it was planted, and the test that caught it."""
    shown = Table(title="Planted errors", title_justify="left")
    for heading in ("family", "error", "caught by", "s"):
        shown.add_column(heading, overflow="fold", justify="right" if heading == "s" else "left")
    for result in outcomes:
        planted = result.run.planted
        assert planted is not None
        verdict = result.caught_by or f"NOT CAUGHT{result.trouble and ': '}{result.trouble}"
        style = None if result.caught_by else "bold red"
        row = [planted.family, planted.error, verdict, f"{result.seconds:.1f}"]
        shown.add_row(*[cell.replace("[", r"\[") for cell in row], style=style)
    return shown


def main(
    only: str | None = typer.Option(None, metavar="FOLDER", help="Only the planted errors of one folder."),
    family: str | None = typer.Option(None, metavar="NAME", help="Only those of one family."),
    sample: int | None = typer.Option(None, min=1, help="Only so many, spread over folders and families."),
    random: int | None = typer.Option(None, "--random", min=4, help="So many mutants nobody chose, in their place."),
    seed: int = typer.Option(0, help="Which ones --sample or --random draws."),
    part: str = typer.Option("1/1", metavar="I/N", help="Only the I-th of N parts, by the order of their files."),
    jobs: int = typer.Option(2, min=1, help="Children at a time."),
    limit: float = typer.Option(240, min=1, help="Seconds after which a child is killed."),
    unchanged: bool = typer.Option(True, help="First see the unchanged tests pass."),
) -> None:
    """Run the planted errors; exit 1 when one is not caught."""
    for number in ENDING:
        signal.signal(number, _end)
    everything = chosen(only, family, sample, seed) if random is None else drawn(random, seed)
    entries = share(everything, part)
    os.chdir(ROOT)
    for name in HEAVY:
        importlib.import_module(name)
    assert not any(name.split(".")[0] == "reference_models" for name in sys.modules)
    gc.freeze()  # children need not look at what the parent imported
    with tempfile.TemporaryDirectory(prefix="planted-") as compiled:
        sys.pycache_prefix = compiled  # children share what they compile, outside of the checkout
        outcomes = _run(entries, jobs=jobs, limit=limit, unchanged=unchanged)
    raise typer.Exit(_by_kind(outcomes) if random is not None else int(not all(r.caught_by for r in outcomes)))


def _run(entries: Sequence[Planted | Mutant], *, jobs: int, limit: float, unchanged: bool) -> list[Outcome]:
    if unchanged:
        files = sorted({file for entry in entries for file in entry.test_files})
        sound = with_progress([Run((file,)) for file in files], "unchanged tests", jobs=jobs, limit=limit)
        bad = [r for r in sound if r.caught_by or r.trouble]
        for result in bad:
            named = ", ".join(str(file.relative_to(ROOT)) for file in result.run.tests)
            why = result.caught_by or result.trouble
            talk.print(f"{named} fails without any error: {why}", markup=False, soft_wrap=True)
        if bad:
            talk.print("No error was planted, for the tests must pass first.")
            raise typer.Exit(1)
    runs = [Run(entry.test_files, entry) for entry in entries]
    outcomes = with_progress(runs, "planted errors", jobs=jobs, limit=limit)
    out = Console()
    out = out if out.is_terminal else Console(width=160)
    out.print(table(outcomes))
    caught = sum(result.caught_by is not None for result in outcomes)
    out.print(f"{caught} of {len(outcomes)} caught", highlight=False)
    return outcomes


def _by_kind(outcomes: list[Outcome]) -> int:
    """Prints how many mutants of each kind were caught, of those that change anything; 1 where too many were not."""
    known, code = equivalent(), 0
    for kind in KINDS:
        of_kind = [
            result for result in outcomes if isinstance(result.run.planted, Mutant) and result.run.planted.kind == kind
        ]
        survived = [result.run.planted for result in of_kind if result.caught_by is None]
        same = [m for m in survived if isinstance(m, Mutant) and (m.file, m.where, m.error) in known]
        counted, caught = len(of_kind) - len(same), len(of_kind) - len(survived)
        typer.echo(f"{kind:<10} {caught} of {counted} caught, {len(same)} more change nothing (equivalent.yaml)")
        code |= counted == 0 or caught < LEAST * counted
        for mutant in survived:
            if mutant not in same:
                typer.echo(f"  {mutant.file}:{mutant.line}  {mutant.error}\n    {mutant.where}")
    return code


if __name__ == "__main__":
    typer.run(main)
