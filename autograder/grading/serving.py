"""The processes of a cluster: a scheduler, and workers that stay with it whatever becomes of either."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import dask
from distributed import Scheduler, Status, Worker
from distributed.comm.core import connect
from distributed.versions import VersionMismatchWarning

from autograder.errors import UserError
from autograder.grading import node as nodes
from autograder.grading.node import TOPIC, Node

if TYPE_CHECKING:
    from distributed.security import Security

JOINING = 30.0  # seconds a scheduler may take to answer
LOOK = 0.5  # seconds between two looks at what has changed
MENDED = 5.0  # and at a machine that ails
SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # whoever grades counts the workers that a job was on when they died
    "distributed.scheduler.worker-ttl": "60 s",  # a worker that has said nothing for so long is given up
    "distributed.scheduler.http.routes": [],  # no page is served
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
}
CUT = (OSError, ValueError)  # a connection that ends while it is encrypted is a ValueError to tornado
Say = Callable[[str], None]


def quiet() -> None:
    """What Dask says of lost connections is said in sentences of our own."""
    for name in ("distributed", "tornado", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore", VersionMismatchWarning)  # whoever would grade otherwise leaves


def serve(address: str, secure: Security | None, node: Node, say: Say) -> None:
    """Be a worker until SIGINT or SIGTERM comes.

    Raises:
        UserError: no scheduler answers at first, or the machine would grade otherwise.
    """
    quiet()
    nodes.here = node
    try:
        with dask.config.set(SETTINGS):
            asyncio.run(_serve(address, secure, node, say))
    finally:
        nodes.here = None
        node.close()


async def _serve(address: str, secure: Security | None, node: Node, say: Say) -> None:
    stop = _stop_event()
    known = False  # the scheduler has answered once
    while not stop.is_set() and not node.refused:
        answers = await _answers(address, secure, LOOK if known else JOINING)
        worker = await _joined(address, secure, node) if answers else None
        if worker is None and not known and not node.refused:
            raise UserError(f"no scheduler of yours answers at {address}; start it (`autograder cluster scheduler`).")
        if worker is None:
            await _for(stop, LOOK)
            continue
        known = True
        say(f"joined {address} with {node.jobs} places in the {node.kind} sandbox")
        await _stay(worker, node, stop, say)
        node.end_judges()
        await worker.close(executor_wait=False, nanny=False)
        if not stop.is_set() and not node.refused:
            say("the scheduler is gone; waiting for it")
    if node.refused:
        raise UserError(node.refused)


async def _answers(address: str, secure: Security | None, seconds: float) -> bool:
    """True if a scheduler answers that knows our certificate's authority, and we its."""
    try:
        comm = await connect(address, seconds, **({} if secure is None else secure.get_connection_args("worker")))
    except CUT:
        return False
    await comm.close()
    return True


async def _joined(address: str, secure: Security | None, node: Node) -> Worker | None:
    """A worker that has joined, or None if that is not to be."""
    worker = Worker(
        address,
        nthreads=node.jobs,
        name=f"{socket.gethostname()}-{os.getpid()}",
        resources=node.resources,
        security=secure,
        memory_limit=0,
        local_directory=str(node.folder),
        dashboard_address="127.0.0.1:0",  # a port without a page; it cannot be done without
    )
    try:
        await asyncio.wait_for(worker.start(), JOINING)
    except (*CUT, RuntimeError, asyncio.CancelledError):
        with suppress(*CUT, RuntimeError):
            await worker.close(nanny=False)
        return None
    return worker


async def _stay(worker: Worker, node: Node, stop: asyncio.Event, say: Say) -> None:
    """Until the scheduler is lost, somebody ends it, or the machine turns out to be another."""
    told = ""
    while worker.status in (Status.running, Status.paused):
        if stop.is_set() or node.refused:
            if node.refused:
                worker.log_event(TOPIC, f"{worker.name}: {node.refused}")
                await asyncio.sleep(LOOK)  # and it is sent
            return
        if node.ails and node.ails != told:
            told = node.ails
            say(f"{told}; other machines do its work meanwhile")
            worker.log_event(TOPIC, f"{worker.name}: {told}")
            worker.status = Status.paused
        elif node.ails and node.is_idle:
            await _for(stop, MENDED)
            if not await asyncio.to_thread(node.looks):
                say("it can grade again")
                return  # and joins anew
        await _for(stop, LOOK)


def schedule(host: str, port: int, secure: Security | None, say: Say) -> None:
    """Be a scheduler until SIGINT or SIGTERM comes. Raises UserError if the port is taken."""
    quiet()
    with dask.config.set(SETTINGS):
        asyncio.run(_schedule(host, port, secure, say))


async def _schedule(host: str, port: int, secure: Security | None, say: Say) -> None:
    stop = _stop_event()
    scheduler = Scheduler(
        host=host,
        port=port,
        protocol="tcp" if secure is None else "tls",
        security=secure,
        dashboard_address="127.0.0.1:0",
    )
    try:
        await scheduler
    except (OSError, RuntimeError) as error:
        raise UserError(f"no scheduler can listen at {host}:{port} ({error.__cause__ or error}).") from None
    say(f"listening at {scheduler.address}")
    await stop.wait()
    await scheduler.close()


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    return stop


async def _for(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
