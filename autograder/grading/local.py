"""Judge processes of this machine, which a batch never dies of."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.util import get_temp_dir
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from autograder.errors import SandboxWarning, UserError
from autograder.grading.executor import Trouble, attempt
from autograder.judge.job import Job
from autograder.judge.watchdog import wall_in
from autograder.sandbox import traces

J = TypeVar("J", bound=Job)
R = TypeVar("R")


@dataclass(frozen=True)
class Local:
    """Judge processes of this machine, each of which keeps torch and pytest warm and runs one sandbox at a time.

    Args:
        workers: how many, at most.
        gpus: ids of devices; each job has one of them, the one that the fewest have. Empty: as the job says itself.
    """

    workers: int
    gpus: Sequence[str] = ()

    @contextmanager
    def opened(self, width: int) -> Iterator[Judges]:
        """Judge processes for as long as the block lasts."""
        with Judges(min(width, self.workers), self.gpus) as places:
            yield places


class Judges:
    """Judge processes, and new ones in their place if one dies: it takes the others along.

    A context manager; whatever ends the block early ends them at once.
    """

    def __init__(self, width: int, gpus: Sequence[str] = ()) -> None:
        self.width = width
        self._used = Counter(dict.fromkeys(gpus, 0))  # jobs that have each device
        self._counting = threading.Lock()  # jobs end in other threads
        self._stack = ExitStack()
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Judges:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def end(self) -> None:
        """End them at once; the next job has new ones."""
        if self._pool is not None:
            end_judges(self._pool)
        self._stack.close()
        self._pool = None

    def submit(self, work: Callable[[J], R], job: J) -> Future[R | Trouble | UserError]:
        """Begin a job."""
        if self._used:
            with self._counting:
                gpu = min(self._used, key=self._used.__getitem__)
                self._used[gpu] += 1
            future = self._begun(work, replace(job, gpu=gpu))
            future.add_done_callback(lambda _: self._give_back(gpu))
            return future
        return self._begun(work, job)

    def _give_back(self, gpu: str) -> None:
        with self._counting:
            self._used[gpu] -= 1

    def _begun(self, work: Callable[[J], R], job: J) -> Future[R | Trouble | UserError]:
        if self._pool is None:
            self._pool = self._stack.enter_context(judges(self.width))
        try:
            return self._pool.submit(attempt, work, job)
        except BrokenProcessPool:
            self._stack.close()
            self._pool = None
            return self._begun(work, job)


@contextmanager
def judges(count: int) -> Iterator[ProcessPoolExecutor]:
    """Judge processes; whatever ends the block early ends them at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "pytest", "autograder.judge.grade"])
    reaper = traces.Reaper(None, Path(get_temp_dir()))  # a killed grader can not remove the folder of its sockets
    try:
        with ProcessPoolExecutor(count, mp_context=context, initializer=_prepare) as executor:
            try:
                yield executor
            except BaseException:
                end_judges(executor)
                raise
    finally:
        reaper.dismiss()


def _prepare() -> None:
    """Runs in each judge process: Ctrl-C is the parent's to handle, the end of the parent is ours."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore", SandboxWarning)  # whoever named the sandbox was told
    wall_in()
    torch.set_num_threads(1)  # as many judges as cores, and sums in the same order on every machine
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_outlive_nothing, args=(parent.sentinel,), daemon=True).start()


def _outlive_nothing(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def end_judges(executor: ProcessPoolExecutor) -> None:
    """End the judge processes at once; what they leave, `sandbox.sweep` and their reapers remove."""
    processes = list((executor._processes or {}).values())
    executor.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()
    for process in processes:
        process.join()
