"""A machine of a cluster: a Dask worker whose jobs are done by judge processes of its own.

What a submission does to its judge never reaches the worker itself. Before the first job of a class the machine is
compared with the one that asks (`machine`): it refuses what it would grade otherwise. Hidden files come once, as a
bundle, lie where only this user may look, in no sandbox, and are removed when the class is done or the worker ends.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

from distributed import Worker, WorkerPlugin

from autograder.errors import UserError
from autograder.grading.bundle import Bundle
from autograder.grading.executor import Trouble, reports_in
from autograder.grading.local import Judges
from autograder.grading.machine import ailing, differences, machine
from autograder.judge.basis import Basis
from autograder.judge.job import Again, Job
from autograder.records.rendering import Order
from autograder.sandbox import SandboxKind, traces

TOPIC = "autograder"  # of what workers tell whoever grades


@dataclass(frozen=True)
class Terms:
    """What a class is graded with: the same for all of its jobs, sent to each machine once.

    Args:
        machine: what grading stands on where the class is.
        datasets: folders of large data sets; they lie in the same place on every machine.
    """

    bundle: Bundle
    kind: SandboxKind
    image: str | None
    machine: Mapping[str, str]
    basis: Basis | None = None
    datasets: Sequence[Path] = ()


@dataclass(frozen=True)
class Parcel:
    """One job and all it takes, as values.

    Args:
        job: with the submission in it.
        before: text of the report that is graded again.
        kept: what a judge that died had found.
    """

    work: Callable[[Any], Any]
    job: Job
    bundle: str
    before: str | None
    kept: bytes


@dataclass(frozen=True)
class Died:
    """The judge died. `kept` is what it had found."""

    kept: bytes


@dataclass(frozen=True)
class Gone:
    """This machine cannot do the job now; another one may. `missing`: its class is not known here."""

    missing: bool = False


def resource(kind: SandboxKind, *, gpu: bool) -> str:
    """What a job needs one of, by the name that Dask counts it under."""
    return f"{kind} with a GPU" if gpu else kind


class TermsPlugin(WorkerPlugin):
    """Brings the terms to every worker there is and to each that joins."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    def setup(self, worker: Worker) -> None:
        """Look whether this machine grades alike, and lay the hidden files."""
        if here is not None:
            here.admit(self.terms)

    def teardown(self, worker: Worker) -> None:
        """Remove them."""
        if here is not None:
            here.forget(self.terms.bundle.digest)


class Slot:
    """A place for one job: a judge process, kept warm from one job of a class to the next."""

    def __init__(self, gpu: str | None) -> None:
        self.gpu = gpu
        self._judges = Judges(1)
        self._bundle = ""

    def do(self, parcel: Parcel, job: Job) -> Any:
        """Do a job. Raises BrokenExecutor if the judge dies."""
        if parcel.bundle != self._bundle:  # another class: its modules may have the same names
            self._judges.end()
            self._bundle = parcel.bundle
        return self._judges.submit(parcel.work, job).result()

    def end(self) -> None:
        """End the judge at once."""
        self._judges.end()


class Node:
    """This machine's part of a cluster; one in a process.

    Args:
        kind: where submissions run here.
        jobs: how many at a time.
        gpus: ids of devices, of which each place has one.
    """

    def __init__(self, kind: SandboxKind, jobs: int, gpus: Sequence[str] = ()) -> None:
        self.kind, self.jobs, self.gpus = kind, jobs, gpus
        self.refused = ""  # why this machine may not help, for as long as it runs
        self.ails = ""  # why it cannot help now
        self.image: str | None = None
        self.folder = traces.folder()  # mode 0700
        self._reaper = traces.Reaper(None)
        self._slots = [Slot(gpus[n % len(gpus)] if gpus else None) for n in range(jobs)]
        self._free: SimpleQueue[Slot] = SimpleQueue()
        for slot in self._slots:
            self._free.put(slot)
        self._laid: dict[str, tuple[Terms, Path]] = {}
        self._lock = threading.Lock()

    @property
    def resources(self) -> dict[str, float]:
        """As Dask counts them."""
        return {resource(self.kind, gpu=gpu): self.jobs for gpu in ((False, True) if self.gpus else (False,))}

    @property
    def is_idle(self) -> bool:
        """True if no job is under way."""
        return self._free.qsize() == self.jobs

    def looks(self) -> str:
        """Look whether this machine can grade now; why it cannot, "" if it can."""
        self.ails = ailing(self.kind, self.image, self.folder)
        return self.ails

    def admit(self, terms: Terms) -> None:
        """Take the terms of a class, or refuse them."""
        if terms.kind != self.kind:  # another worker's: no job of it comes here
            return
        self.image = terms.image
        self.refused = differences(machine(terms.kind, terms.image), terms.machine)
        absent = [str(folder) for folder in terms.datasets if not folder.is_dir()]
        if absent and not self.refused:
            self.refused = f"this machine has no data set in {', '.join(absent)}; put it there, as where the class is"
        if self.refused or self.looks():
            return
        place = self.folder / terms.bundle.digest
        try:
            if not place.exists():
                terms.bundle.lay(place)
        except OSError as error:
            self.ails = f"the hidden files of a class cannot be laid in {self.folder} ({error.strerror}); make room"
            return
        with self._lock:
            self._laid[terms.bundle.digest] = terms, place

    def forget(self, digest: str) -> None:
        """A class is done: end what still runs of it, and remove its hidden files."""
        with self._lock:
            known = self._laid.pop(digest, None)
        if known is not None:
            self.end_judges()
            shutil.rmtree(known[1], ignore_errors=True)

    def end_judges(self) -> None:
        """End every judge at once."""
        for slot in self._slots:
            slot.end()

    def close(self) -> None:
        """End everything and remove it."""
        for digest in list(self._laid):
            self.forget(digest)
        self.end_judges()
        self._reaper.dismiss()
        shutil.rmtree(self.folder, ignore_errors=True)

    def do(self, parcel: Parcel) -> Any:
        """Do a job: its result, `Died` or `Gone`."""
        slot = self._free.get()
        try:
            known = self._laid.get(parcel.bundle)
            if known is None or self.ails:
                return Gone(missing=not self.ails)
            return self._done(slot, parcel, *known)
        except OSError:  # no room, or the hidden files went away
            self.looks()
            return Gone()
        finally:
            self._free.put(slot)

    def _done(self, slot: Slot, parcel: Parcel, terms: Terms, place: Path) -> Any:
        with TemporaryDirectory(prefix="job-", dir=self.folder) as own:
            job, spool = parcel.job, Path(own, "kept")
            if parcel.kept:
                spool.write_bytes(parcel.kept)
            if job.again is not None and parcel.before is not None:
                Path(own, "before").write_text(parcel.before, encoding="utf-8")
                job = replace(job, again=Again(Path(own, "before"), job.again.stale))
            gpu = None if job.gpu is None else slot.gpu
            if isinstance(job, Order):
                job = replace(job, folders=terms.bundle.folders(place, job.homework))
            homework = terms.bundle.files(place, job.homework)
            job = replace(job, homework=homework, basis=terms.basis, spool=str(spool), gpu=gpu)
            try:
                result = slot.do(parcel, job)
            except BrokenExecutor:
                still = parcel.bundle in self._laid and not self.looks()
                return Died(spool.read_bytes() if spool.exists() else b"") if still else Gone()
        if isinstance(result, UserError):
            return result
        failed = isinstance(result, Trouble) or any(getattr(r, "infrastructure", False) for r in reports_in(result))
        return Gone() if failed and self.looks() else result


here: Node | None = None


def do(parcel: Parcel) -> Any:
    """What the cluster runs on a worker."""
    return Gone() if here is None else here.do(parcel)
