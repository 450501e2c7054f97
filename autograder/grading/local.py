"""Grading a class: jobs on an executor, results as they come, a batch that never dies of one submission."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
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

import torch

from autograder.errors import AutograderError, SandboxWarning, UserError
from autograder.judge.grade import Job
from autograder.sandbox import traces


@dataclass(frozen=True)
class Trouble:
    """A submission that could not be graded, through no fault of its author."""

    student: str
    sentence: str


R = TypeVar("R")


def run_jobs(
    jobs: Sequence[Job],
    workers: int,
    work: Callable[[Job], R],
    started: Callable[[str], None] = lambda student: None,
) -> Generator[tuple[Job, R | Trouble], None, None]:
    """Do every job, `workers` at a time, and yield each with its result as soon as it is there.

    A judge process that dies takes the jobs along that run at that moment; they are done again at the end, one at a
    time, so that the one that kills its judge is known and costs nobody else anything. So is what the machine was too
    busy for, and then it is taken as it is. Close the iterator to end the judge processes early.

    Args:
        jobs: one per submission.
        workers: judge processes; each keeps torch and pytest warm and runs one sandbox at a time.
        work: what to do with a job; picklable.
        started: called with a student's name when their submission begins.

    Raises:
        UserError: the assignment itself is broken, so that no submission can be graded.
    """
    queue = [replace(job, more=position + workers < len(jobs), last=False) for position, job in enumerate(jobs)]
    waiting, suspects = deque(range(len(queue))), deque[int]()
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
                        if _starved(result) and not job.last:
                            queue[position] = replace(job, last=True, more=False)
                            suspects.append(position)
                        else:
                            yield job, result
            except BrokenProcessPool:
                if not alone:
                    suspects.extend(running.values())
                    continue
                for position in running.values():
                    job = queue[position]
                    yield job, Trouble(job.submission.student, "the judge's process died twice; grade again")


def _starved(result: object) -> bool:
    """True if the machine was too busy for a part of a report, or of one of several."""
    return any(getattr(part, "starved", False) for part in (result if isinstance(result, list) else [result]))


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
                _terminate(executor)
                raise
    finally:
        reaper.dismiss()


def _prepare() -> None:
    """Runs in each judge process: Ctrl-C is the parent's to handle, the end of the parent is ours."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore", SandboxWarning)  # whoever named the sandbox was told
    torch.set_num_threads(1)  # as many judges as cores, and sums in the same order on every machine
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_outlive_nothing, args=(parent.sentinel,), daemon=True).start()


def _outlive_nothing(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def _terminate(executor: ProcessPoolExecutor) -> None:
    """End the judge processes at once; what they leave, `sandbox.sweep` and their reapers remove."""
    processes = list((executor._processes or {}).values())
    executor.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()
    for process in processes:
        process.join()
