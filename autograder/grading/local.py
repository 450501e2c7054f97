"""Grading a class: jobs on an executor, results as they come, a batch that never dies of one submission."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import tempfile
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import TypeVar

from autograder.errors import AutograderError, SandboxWarning, UserError
from autograder.judge.job import Job
from autograder.judge.watchdog import overran, wall_in
from autograder.records.rendering import Rendered
from autograder.report import Report
from autograder.sandbox import traces


@dataclass(frozen=True)
class Trouble:
    """A submission that could not be graded, through no fault of its author."""

    student: str
    sentence: str


R = TypeVar("R")
DEATHS = 2  # of judges that ran nothing but one job


def run_jobs(
    jobs: Sequence[Job],
    workers: int,
    work: Callable[[Job], R],
    started: Callable[[str], None] = lambda student: None,
) -> Generator[tuple[Job, R | Trouble], None, None]:
    """Do every job, `workers` at a time, and yield each with its result as soon as it is there.

    A judge process that dies takes the jobs along that run at that moment; they are done again at the end, one at a
    time, so that the one that kills its judge is known and costs nobody else anything. What it had found before is
    kept: after a second death it is done once more, without what it died of. What the machine was too busy for, and a
    check in which the judge's own part was stopped, are tried once more at the end as well, and then taken as they are.
    Close the iterator to end the judge processes early.

    Args:
        jobs: one per submission.
        workers: judge processes; each keeps torch and pytest warm and runs one sandbox at a time.
        work: what to do with a job; picklable.
        started: called with a student's name when their submission begins.

    Raises:
        UserError: the assignment itself is broken, so that no submission can be graded.
    """
    more = [position + workers < len(jobs) for position in range(len(jobs))]
    with tempfile.TemporaryDirectory(prefix="kept-", dir=get_temp_dir()) as spools:
        queue = [replace(job, more=more[n], last=False, spool=f"{spools}/{n}") for n, job in enumerate(jobs)]
        yield from _run_queue(queue, workers, work, started)


def _run_queue(
    queue: list[Job],
    workers: int,
    work: Callable[[Job], R],
    started: Callable[[str], None],
) -> Generator[tuple[Job, R | Trouble], None, None]:
    waiting, suspects = deque(range(len(queue))), deque[int]()
    deaths = [0] * len(queue)
    while waiting or suspects:
        alone = not waiting
        todo, width = (suspects, 1) if alone else (waiting, min(workers, len(waiting)))
        running: dict[Future[R | Trouble | UserError], int] = {}
        with judges(width) as executor:
            try:
                while todo or running:
                    while todo and len(running) < width:
                        running[executor.submit(_attempt, work, queue[todo[0]])] = todo[0]
                        started(queue[todo.popleft()].submission.student)
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        result = future.result()
                        position = running.pop(future)
                        job = queue[position]
                        if isinstance(result, UserError):
                            raise result
                        if _unfinished(result) and not job.last:
                            queue[position] = replace(job, last=True, more=False)
                            suspects.append(position)
                        else:
                            yield job, result
            except BrokenProcessPool:
                for position in running.values():
                    deaths[position] += alone
                    if deaths[position] < DEATHS:
                        queue[position] = replace(queue[position], last=True, more=False)
                        suspects.append(position)
                    else:
                        trouble = "the judge's process died three times; grade again"
                        yield queue[position], Trouble(queue[position].submission.student, trouble)


def _unfinished(result: object) -> bool:
    """True if the machine was too busy for a part of a report, or the judge's own part of a check was stopped."""
    parts = result if isinstance(result, list) else [result]
    reports = [part.report if isinstance(part, Rendered) else part for part in parts]
    return any(getattr(part, "starved", False) or (isinstance(part, Report) and overran(part)) for part in reports)


def _attempt(work: Callable[[Job], R], job: Job) -> R | Trouble | UserError:
    """Runs in a judge process. Errors come back as values: an exception that can not be unpickled breaks the pool."""
    try:
        return work(job)
    except UserError as error:
        return UserError(str(error))
    except AutograderError as error:
        return Trouble(job.submission.student, str(error))
    except BaseException as error:
        return Trouble(job.submission.student, f"the grader stumbled ({type(error).__name__}: {error})")


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
