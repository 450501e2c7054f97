"""Commands for machines that grade together: worker, cluster init, cluster scheduler."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from autograder.commands.for_tas import AsRootOption, PlainOption, SandboxChoice

CERTIFICATES = Path("cluster")
Certificates = Annotated[Path, typer.Option(help="The folder that `autograder cluster init` made.")]


def worker(
    address: Annotated[str, typer.Argument(help="The scheduler's: tls://scheduler:8786.")],
    certificates: Certificates = CERTIFICATES,
    sandbox: Annotated[SandboxChoice, typer.Option(help="Where submissions run here.")] = SandboxChoice.docker,
    no_walls_as_root: AsRootOption = False,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Submissions at a time.")] = None,
    gpus: Annotated[str | None, typer.Option(help="Ids of devices, as in `0,1`: each place has one of them.")] = None,
    no_tls: PlainOption = False,
) -> None:
    """Help a cluster to grade, until it is stopped.

    The machine is looked at first: an engine has to answer and the image to be built. Before the first job of a class
    it is compared with the machine that asks, and leaves with a sentence if it would grade otherwise. It needs nothing
    of the course: hidden files are sent to it, lie where only this user may look, and are removed at the end.

    Example: `autograder worker tls://scheduler:8786 --jobs 8`
    """
    from autograder.errors import UserError
    from autograder.grading.tls import security
    from autograder.sandbox import permitted, sweep

    secure = security(address, certificates, "worker", plain=no_tls)
    kind = permitted(sandbox.value, as_root=no_walls_as_root)
    from autograder.grading.node import Node
    from autograder.grading.serving import serve

    sweep()
    names = [name for name in (gpus or "").split(",") if name]
    node = Node(kind, jobs or len(os.sched_getaffinity(0)), names)
    if says := node.looks():
        node.close()
        raise UserError(says)
    serve(address, secure, node, lambda line: print(line, file=sys.stderr, flush=True))
    sweep()


def cluster_init(
    folder: Annotated[Path, typer.Argument(help="A new folder for them.")] = CERTIFICATES,
) -> None:
    """Make the certificates with which the machines of a cluster know each other.

    Each machine gets `ca.pem` and the one of its own role: `scheduler.pem`, `worker.pem` or `client.pem`. Whoever has
    one of these three can run code on the cluster. The authority's own key is kept nowhere; for more certificates make
    all of them anew.

    Example: `autograder cluster init cluster`
    """
    from autograder.grading.tls import make_certificates

    for path in make_certificates(folder):
        print(path)


def cluster_scheduler(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "0.0.0.0",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for any that is free.")] = 8786,
    certificates: Certificates = CERTIFICATES,
    no_tls: PlainOption = False,
) -> None:
    """Hand out the jobs of a cluster, until it is stopped. It grades nothing itself.

    Started again at the same address, it has its workers and whoever grades back: no mark is lost with it.

    Example: `autograder cluster scheduler --port 8786`
    """
    from autograder.grading.tls import security

    secure = security(f"{'tcp' if no_tls else 'tls'}://{host}:{port or 1}", certificates, "scheduler", plain=no_tls)
    from autograder.grading.serving import schedule

    schedule(host, port, secure, lambda line: print(line, file=sys.stderr, flush=True))
