"""Which machines grade a class: this one, or those of a cluster that is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autograder.course.course import Course
from autograder.grading.executor import Executor
from autograder.grading.local import Local
from autograder.grading.tls import security
from autograder.judge.job import Job, assignment_of

if TYPE_CHECKING:
    from distributed.security import Security

HERE = "local"  # what `--cluster` says where course.yaml names a cluster and this machine is meant


@dataclass(frozen=True)
class Reach:
    """A cluster, and how to talk to it."""

    address: str
    secure: Security | None


def reach(course: Course, address: str | None, certificates: Path | None, *, plain: bool = False) -> Reach | None:
    """The cluster that is named, or else the course's; None: this machine grades.

    Raises:
        UserError: as `tls.security` does.
    """
    settings = course.config.cluster
    address = address or settings.address
    if address is None or address == HERE:
        return None
    return Reach(address, security(address, certificates or course.root / settings.certificates, "client", plain=plain))


@contextmanager
def machines(
    reach: Reach | None, here: Local, job: Job, most: int | None, say: Callable[[str], None]
) -> Iterator[Executor]:
    """What grades jobs that are like this one but for the submission.

    Args:
        most: jobs at a time on a cluster.
        say: told what a person should know.

    Raises:
        UserError: no scheduler answers.
    """
    if reach is None:
        yield here
        return
    from autograder.grading.bundle import packed
    from autograder.grading.dask import Cluster
    from autograder.grading.machine import machine
    from autograder.grading.node import Terms

    terms = Terms(
        bundle=packed(job.homework),
        kind=job.sandbox,
        image=job.image,
        machine=machine(job.sandbox, job.image),
        basis=job.basis,
        datasets=list(assignment_of(job.homework).datasets.values()),
    )
    with Cluster(reach.address, reach.secure, terms, gpu=bool(here.gpus), most=most, say=say) as cluster:
        yield cluster
