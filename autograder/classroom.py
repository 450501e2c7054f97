"""Grading a class: jobs on an executor, results as they come, a batch that never dies of one submission."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import TypeVar

from autograder.errors import AutograderError, UserError
from autograder.grade import Job, close_providers

ATTEMPTS = 2  # a judge process that dies takes its job along once; a second death is reported


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
) -> Iterator[tuple[Job, R | Trouble]]:
    """Do every job, `workers` at a time, and yield each with its result as soon as it is there.

    Args:
        jobs: one per submission.
        workers: judge processes; each keeps torch and pytest warm and runs one sandbox at a time.
        work: what to do with a job; picklable.
        started: called with a student's name when their submission begins.

    Raises:
        UserError: the assignment itself is broken, so that no submission can be graded.
    """
    queue = [replace(job, more=position + workers < len(jobs)) for position, job in enumerate(jobs)]
    attempts = dict.fromkeys(range(len(queue)), 0)
    waiting = list(range(len(queue)))
    while waiting:
        again: list[int] = []
        with _executor(min(workers, len(waiting))) as executor:
            running: dict[Future[R], int] = {}
            try:
                while waiting or running:
                    while waiting and len(running) < workers:
                        position = waiting.pop(0)
                        attempts[position] += 1
                        running[executor.submit(work, queue[position])] = position
                        started(queue[position].submission.student)
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        position = running.pop(future)
                        student = queue[position].submission.student
                        try:
                            yield queue[position], future.result()
                        except UserError:
                            raise
                        except BrokenProcessPool:
                            lost = [position, *running.values()]
                            running.clear()
                            again += [p for p in lost if attempts[p] < ATTEMPTS]
                            for p in lost:
                                if attempts[p] >= ATTEMPTS:
                                    sentence = "the judge's process died; grade again"
                                    yield queue[p], Trouble(queue[p].submission.student, sentence)
                            raise
                        except AutograderError as error:
                            yield queue[position], Trouble(student, str(error))
                        except Exception as error:
                            sentence = f"the grader stumbled ({type(error).__name__}: {error})"
                            yield queue[position], Trouble(student, sentence)
            except BrokenProcessPool:
                waiting = again + waiting
            except BaseException:
                executor.shutdown(wait=False, cancel_futures=True)
                _terminate(executor)
                raise


def _executor(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "pytest", "autograder.grade"])
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare)


def _prepare() -> None:
    """Runs in each judge process: Ctrl-C is the parent's to handle, the end of the parent is ours."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_outlive_nothing, args=(parent.sentinel,), daemon=True).start()


def _end(signum: int, frame: object) -> None:
    # Not an exception: pytest would record it as the outcome of a check and go on.
    close_providers()
    os._exit(128 + signum)


def _outlive_nothing(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _terminate(executor: ProcessPoolExecutor) -> None:
    """End the judge processes; each closes its sandboxes on the way out."""
    processes = list((executor._processes or {}).values())
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(timeout=10)
