"""A class on a cluster: the same jobs, done by Dask workers that have nothing but what is sent to them.

A job travels with the bytes of its submission and comes back as a value, which this process writes. Whatever is lost
on the way (a worker, the scheduler, the connection) costs time only: its jobs are sent again, and none is taken twice.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import dask
from distributed import Client, KilledWorker

from autograder.errors import AutograderError, Lost, UserError
from autograder.grading.executor import Trouble
from autograder.grading.node import TOPIC, Died, Gone, Parcel, Terms, TermsPlugin, do, resource
from autograder.grading.serving import CUT, quiet
from autograder.judge.job import Job

if TYPE_CHECKING:
    from distributed.security import Security

J = TypeVar("J", bound=Job)
R = TypeVar("R")
ANSWER = 20.0  # seconds a scheduler may take to answer
PATIENCE = 1800.0  # for one that answered before and is started again
LOSSES = 5  # of workers, by one job: then it may be its own doing, and is tried alone
MISSING = 3  # answers that a class is not known: then it is sent again
PAUSE = 1.0
SETTINGS = {"distributed.admin.large-graph-warning-threshold": "1 GB"}  # a notebook may be large


class Cluster:
    """An executor: the workers of a scheduler. A context manager; at its end hidden files are removed everywhere.

    Args:
        terms: what the class is graded with.
        gpu: each job needs one.
        most: jobs at a time, whatever there is.
        say: told what a person should know.
    """

    def __init__(
        self,
        address: str,
        secure: Security | None,
        terms: Terms,
        *,
        gpu: bool = False,
        most: int | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.terms, self.gpu, self.most, self.say = terms, gpu, most, say
        self._address, self._secure = address, secure
        self._client: Client | None = None
        self._lost = threading.Event()
        self._known = False  # the scheduler has answered once
        self._said: set[str] = set()
        self._name = f"autograder-{terms.bundle.digest}"

    def __enter__(self) -> Cluster:
        quiet()
        self.client()
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            with suppress(Exception):  # the scheduler may be gone, and what matters is written
                self._client.unregister_worker_plugin(self._name)
        self._drop()

    @contextmanager
    def opened(self, width: int) -> Iterator[Sent]:
        """Its places for as long as the block lasts."""
        yield Sent(self, width if self.most is None else min(width, self.most))

    def once(self, line: str) -> None:
        """Say something, if it was not said before."""
        if line not in self._said:
            self._said.add(line)
            self.say(line)

    def lose(self, client: Client) -> None:
        """The scheduler forgot what it was given: begin anew with it, if nobody has."""
        if client is self._client:
            self._lost.set()

    def client(self) -> Client:
        """A connection; another one if it was lost. Raises UserError if no scheduler answers."""
        until = time.monotonic() + PATIENCE
        while self._client is None or self._lost.is_set() or self._client.status != "running":
            self._drop()
            try:
                self._client = self._connected()
                self._known = True
            except (*CUT, CancelledError) as error:
                if not self._known or time.monotonic() > until:
                    raise UserError(
                        f"no scheduler of yours answers at {self._address} ({type(error).__name__}); start it "
                        "(`autograder cluster scheduler`), or grade on this machine with `--cluster local`."
                    ) from None
                self.once(f"the scheduler at {self._address} is gone; waiting for it")
                time.sleep(PAUSE)
        return self._client

    def _connected(self) -> Client:
        self._lost.clear()
        client = Client(self._address, security=self._secure, timeout=ANSWER, set_as_default=False, name="autograder")
        try:
            client.subscribe_topic(TOPIC, lambda event: self.once(str(event[1])))
            client.register_plugin(TermsPlugin(self.terms), name=self._name)
        except BaseException:
            client.close(timeout=PAUSE)
            raise
        return client

    def _drop(self) -> None:
        if self._client is not None:
            with suppress(Exception):
                self._client.close(timeout=PAUSE)
        self._client = None


class Sent:
    """Jobs that were sent to a cluster."""

    def __init__(self, cluster: Cluster, most: int) -> None:
        self._cluster, self._most = cluster, most
        self._resource = resource(cluster.terms.kind, gpu=cluster.gpu)
        self._losses: Counter[str] = Counter()
        self._missing = 0
        self._tasks: dict[Future[Any], Any] = {}  # Dask forgets what nobody holds

    @property
    def width(self) -> int:
        """Places there are now; waits for the first."""
        while True:
            try:
                workers = self._cluster.client().scheduler_info()["workers"].values()
            except OSError:
                time.sleep(PAUSE)
                continue
            places = sum(w["resources"].get(self._resource, 0) for w in workers if w["status"] == "running")
            if places:
                return min(int(places), self._most)
            what = f"with `--sandbox {self._cluster.terms.kind}`" + (" and `--gpus`" if self._cluster.gpu else "")
            self._cluster.once(f"no worker {what} is there; waiting for one (`autograder worker`)")
            time.sleep(PAUSE)

    def submit(self, work: Callable[[J], R], job: J) -> Future[R | Trouble | UserError]:
        """Send a job."""
        answer: Future[R | Trouble | UserError] = Future()
        try:
            parcel = self._parcel(work, job)
        except AutograderError as problem:
            answer.set_result(Trouble(job.submission.student, str(problem)))
            return answer
        client = self._cluster.client()
        try:
            with dask.config.set(SETTINGS):
                task = client.submit(
                    do, parcel, pure=False, key=f"grade-{uuid.uuid4().hex}", resources={self._resource: 1}
                )
        except OSError:
            self._cluster.lose(client)
            answer.set_exception(Lost())
            return answer
        self._tasks[answer] = task
        task.add_done_callback(partial(self._arrived, client, answer, job))
        return answer

    def _parcel(self, work: Callable[[J], R], job: J) -> Parcel:
        spool = Path(job.spool) if job.spool is not None else None
        kept = spool.read_bytes() if spool is not None and spool.exists() else b""
        before = None if job.again is None else job.again.report.read_text(encoding="utf-8")
        whole = replace(job, submission=job.submission.read(), basis=None, gpu="" if self._cluster.gpu else None)
        return Parcel(work, whole, self._cluster.terms.bundle.digest, before, kept)

    def _arrived(self, client: Client, answer: Future[Any], job: Job, task: Any) -> None:
        """What became of a job. Runs in a thread of Dask's."""
        try:
            result = task.result()
        except KilledWorker:
            self._losses[job.submission.student] += 1
            lost = self._losses[job.submission.student] < LOSSES
            answer.set_exception(Lost() if lost else BrokenExecutor())
        except (OSError, CancelledError):
            self._cluster.lose(client)
            answer.set_exception(Lost())
        except Exception as error:
            answer.set_result(
                Trouble(job.submission.student, f"the cluster stumbled ({type(error).__name__}: {error})")
            )
        else:
            self._answered(client, answer, job, result)
        self._tasks.pop(answer, None)

    def _answered(self, client: Client, answer: Future[Any], job: Job, result: object) -> None:
        if isinstance(result, Died):
            if job.spool is not None:
                Path(job.spool).write_bytes(result.kept)
            answer.set_exception(BrokenExecutor())
        elif isinstance(result, Gone):
            self._missing = self._missing + 1 if result.missing else 0
            if self._missing > MISSING:
                self._cluster.lose(client)
            time.sleep(PAUSE)  # until the scheduler knows it
            answer.set_exception(Lost())
        else:
            answer.set_result(result)
