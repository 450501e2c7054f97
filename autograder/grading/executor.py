"""Where jobs are done, who is next, and a batch that never dies of one submission.

An `Executor` is this machine (`local`) or a cluster (`dask`). What follows from its answers is decided here, once for
both: who waits for whom, what is done a second time, and when that is enough.
"""

from __future__ import annotations

import heapq
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from multiprocessing.util import get_temp_dir
from typing import Generic, Protocol, TypeVar

from autograder.errors import AutograderError, Lost, UserError
from autograder.judge.job import Job
from autograder.judge.watchdog import overran
from autograder.records.rendering import Order, Rendered
from autograder.report import Report

J = TypeVar("J", bound=Job)
R = TypeVar("R")
T = TypeVar("T")
DEATHS = 2  # of judges that ran nothing but one job
SHARE = 0.25  # of the places, which one student may hold
GROWTH = 5.0  # seconds after which it is looked whether there are more places
IMPATIENCE = 10.0  # what is expected to take a second longer waits for whatever came within these


@dataclass(frozen=True)
class Trouble:
    """A submission that could not be graded, through no fault of its author."""

    student: str
    sentence: str


class Places(Protocol):
    """The places of an executor, as long as they are open."""

    @property
    def width(self) -> int:
        """Jobs that are done at a time, one at least: it may change, and be waited for."""

    def submit(self, work: Callable[[J], R], job: J) -> Future[R | Trouble | UserError]:
        """Begin a job. What it raises is its result; BrokenExecutor: its judge died, Lost: its place is gone."""


class Executor(Protocol):
    """Where jobs are done."""

    def opened(self, width: int) -> AbstractContextManager[Places]:
        """Places for at most `width` jobs at a time; whatever ends the block early ends them at once."""


class FairQueue(Generic[T]):
    """Who is next: what is expected to be short goes first, and nobody holds more than a share of the places.

    What waits gets older: something short that comes later does not go before it for ever.
    """

    def __init__(self, share: float = SHARE) -> None:
        self._share = share
        self._waiting: list[tuple[float, int, str, T]] = []
        self._held: dict[str, list[tuple[float, int, str, T]]] = {}  # by owner: those who have their share
        self._places: Counter[str] = Counter()
        self._count = self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, item: T, owner: str, cost: float = 0.0, now: float = 0.0) -> None:
        """One more waits.

        Args:
            owner: the student whose it is.
            cost: the seconds it is expected to take.
            now: when it came, in seconds.
        """
        heapq.heappush(self._waiting, (now + IMPATIENCE * cost, self._count, owner, item))
        self._count += 1
        self._length += 1

    def take(self, width: int) -> tuple[str, T] | None:
        """The next one and whose it is, who holds a place from now on; None if nobody may.

        Args:
            width: how many places there are.
        """
        most = max(1, int(self._share * width))
        while self._waiting:
            entry = heapq.heappop(self._waiting)
            owner = entry[2]
            if self._places[owner] < most:
                self._places[owner] += 1
                self._length -= 1
                return owner, entry[3]
            heapq.heappush(self._held.setdefault(owner, []), entry)
        return None

    def done(self, owner: str) -> None:
        """A place is given back."""
        self._places[owner] -= 1
        if held := self._held.get(owner):
            heapq.heappush(self._waiting, heapq.heappop(held))


def run_jobs(
    jobs: Sequence[J],
    executor: Executor,
    work: Callable[[J], R],
    started: Callable[[str], None] = lambda student: None,
) -> Generator[tuple[J, R | Trouble], None, None]:
    """Do every job and yield each with its result as soon as it is there.

    A judge that dies takes the jobs along that its executor ran with it; they are done again at the end, one at a time,
    so that the one that kills its judge is known and costs nobody else anything. What it had found before is kept:
    after a second death it is done once more, without what it died of. What the machine was too busy for, and a check
    in which the judge's own part was stopped, are tried once more at the end as well, and then taken as they are. A job
    whose place is lost is done in another one.
    Close the iterator to end what runs early.

    Args:
        jobs: one per submission.
        work: what to do with a job; picklable.
        started: called with a student's name when their submission begins.

    Raises:
        UserError: the assignment itself is broken, so that no submission can be graded.
    """
    with tempfile.TemporaryDirectory(prefix="kept-", dir=get_temp_dir()) as spools:
        todo = [replace(job, last=False, spool=f"{spools}/{n}") for n, job in enumerate(jobs)]
        first = FairQueue[int]()
        for n, job in enumerate(todo):
            first.put(n, job.submission.student, job.cost if isinstance(job, Order) else 0.0)
        yield from _Run(todo, work, started).all_of(first, executor)


class _Run(Generic[J, R]):
    """One call of `run_jobs`."""

    def __init__(self, jobs: list[J], work: Callable[[J], R], started: Callable[[str], None]) -> None:
        self._jobs, self._work, self._started = jobs, work, started
        self._deaths = [0] * len(jobs)
        self._again = FairQueue[int]()

    def all_of(self, first: FairQueue[int], executor: Executor) -> Iterator[tuple[J, R | Trouble]]:
        """Everything together, and then one at a time what did not come out well."""
        for queue, alone in ((first, False), (self._again, True)):
            if queue:
                with executor.opened(1 if alone else len(queue)) as places:
                    yield from self._through(queue, places, alone)

    def _through(self, queue: FairQueue[int], places: Places, alone: bool) -> Iterator[tuple[J, R | Trouble]]:
        running: dict[Future[R | Trouble | UserError], tuple[str, int]] = {}
        while queue or running:
            width = 1 if alone else places.width
            while len(running) < width and (one := queue.take(width)) is not None:
                owner, n = one
                self._jobs[n] = replace(self._jobs[n], more=not alone and len(queue) >= width)
                running[places.submit(self._work, self._jobs[n])] = one
                self._started(owner)
            done, _ = wait(running, timeout=GROWTH, return_when=FIRST_COMPLETED)
            for future in done:
                owner, n = running.pop(future)
                queue.done(owner)
                try:
                    result = future.result()
                except BrokenExecutor:
                    yield from self._died(n, alone)
                except Lost:
                    queue.put(n, owner)
                else:
                    yield from self._placed(n, result)

    def _placed(self, n: int, result: R | Trouble | UserError) -> Iterator[tuple[J, R | Trouble]]:
        if isinstance(result, UserError):
            raise result
        if _unfinished(result) and not self._jobs[n].last:
            self._once_more(n)
        else:
            yield self._jobs[n], result

    def _died(self, n: int, alone: bool) -> Iterator[tuple[J, Trouble]]:
        self._deaths[n] += alone
        if self._deaths[n] < DEATHS:
            self._once_more(n)
        else:
            trouble = "the judge's process died three times; grade again"
            yield self._jobs[n], Trouble(self._jobs[n].submission.student, trouble)

    def _once_more(self, n: int) -> None:
        self._jobs[n] = replace(self._jobs[n], last=True)
        self._again.put(n, self._jobs[n].submission.student)


def _unfinished(result: object) -> bool:
    """True if the machine was too busy for a part of a report, or the judge's own part of a check was stopped."""
    found = reports_in(result)
    return any(getattr(part, "starved", False) or (isinstance(part, Report) and overran(part)) for part in found)


def reports_in(result: object) -> list[object]:
    """The reports of which a result is made."""
    parts = result if isinstance(result, list) else [result]
    return [part.report if isinstance(part, Rendered) else part for part in parts]


def attempt(work: Callable[[J], R], job: J) -> R | Trouble | UserError:
    """Runs in a judge process. Errors come back as values: an exception that can not be unpickled breaks the pool."""
    try:
        return work(job)
    except UserError as error:
        return UserError(str(error))
    except AutograderError as error:
        return Trouble(job.submission.student, str(error))
    except BaseException as error:
        return Trouble(job.submission.student, f"the grader stumbled ({type(error).__name__}: {error})")
