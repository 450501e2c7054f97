"""Orders of a batch: what is the same for all of its submissions, and the machines that fill them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

from autograder.course.course import Course
from autograder.feedback import NOTHING, Remarks
from autograder.grading.cluster import machines
from autograder.grading.executor import Executor
from autograder.grading.local import Local
from autograder.grading.plan import Terms
from autograder.grading.results import Options
from autograder.homework.assignment import Assignment
from autograder.homework.files import HomeworkFiles
from autograder.judge.job import Again
from autograder.records.rendering import Order
from autograder.sandbox import SandboxKind, look_at_gpu
from autograder.sandbox.tags import tag_of
from autograder.submission import Stored, Submission


@dataclass(frozen=True)
class Orders:
    """How a homework of a course is graded now."""

    course: Course
    terms: Terms
    options: Options

    @cached_property
    def _homework(self) -> HomeworkFiles:
        return self.course.files(self.terms.assignment.name, self.options.profile).resolved()

    @cached_property
    def _image(self) -> str:
        return image_of(self.course, self.options, self.terms.assignment)

    def of(
        self,
        submission: Submission | Stored,
        again: Again | None = None,
        remarks: Remarks = NOTHING,
        cost: float = 0.0,
    ) -> Order:
        """The order of one submission."""
        return Order(
            homework=self._homework,
            submission=submission,
            sandbox=self.terms.sandbox,
            salt=self.course.config.salt,
            image=self._image,
            basis=self.terms.basis,
            again=again,
            remarks=remarks,
            cost=cost,
        )

    @property
    def here(self) -> Local:
        """The judges of this machine."""
        jobs = self.options.jobs or self.course.config.sandbox.jobs or len(os.sched_getaffinity(0))
        return Local(jobs, gpus_of(self.course, self.options, self.terms.sandbox))

    def machines(self, orders: Sequence[Order], say: Callable[[str], None]) -> AbstractContextManager[Executor]:
        """What fills orders: this machine, or the cluster that was named. Raises UserError as `machines` does."""
        return machines(self.options.cluster, self.here, orders[0], self.options.jobs, say)


def image_of(course: Course, options: Options, assignment: Assignment) -> str:
    """The image submissions run in: one that was named, or the course's own with the homework's packages."""
    needed = [*course.config.image.packages, *assignment.config.packages]
    return options.image or course.config.sandbox.image or tag_of(needed)


def gpus_of(course: Course, options: Options, kind: SandboxKind) -> list[str]:
    """The devices of which each job has one, by id. Raises UserError if one is none for this kind of sandbox."""
    found = [name.strip() for name in (options.gpu or course.config.sandbox.gpu or "").split(",") if name.strip()]
    for name in found:
        look_at_gpu(kind, name)
    return found
