"""Who is next, and what of a job that was lost; the executors themselves are in test_local.py and test_cluster.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from autograder.errors import Lost
from autograder.grading.executor import FairQueue, Trouble, run_jobs
from autograder.grading.local import Local
from autograder.homework.files import HomeworkFiles
from autograder.judge.job import Job
from autograder.records.rendering import Order
from autograder.submission import Submission
from tests.autograder import at_work


def order(student: str, cost: float = 0.0) -> Order:
    files = HomeworkFiles("hw0", Path("/nowhere"), None)
    return Order(files, Submission.of(student, b"{}"), "process", cost=cost)


class Here:
    """An executor in this process, of places whose number changes, that loses what it is told to lose."""

    def __init__(self, widths: list[int], lost: Counter[str] | None = None, died: Counter[str] | None = None) -> None:
        self.widths, self.lost, self.died = widths, lost or Counter(), died or Counter()
        self.most = self.running = 0

    @contextmanager
    def opened(self, width: int) -> Iterator[Here]:
        yield self

    @property
    def width(self) -> int:
        return self.widths.pop(0) if len(self.widths) > 1 else self.widths[0]

    def submit(self, work: Callable[[Job], object], job: Job) -> Future[object]:
        future: Future[object] = Future()
        student = job.submission.student
        for counter, error in ((self.lost, Lost()), (self.died, BrokenExecutor())):
            if counter[student]:
                counter[student] -= 1
                future.set_exception(error)
                return future
        future.set_result(work(job))
        return future


def through(queue: FairQueue[str], width: int = 4) -> list[str]:
    """In which order one place is given away."""
    found = []
    while (one := queue.take(width)) is not None:
        found.append(one[1])
        queue.done(one[0])
    return found


def test_what_is_expected_to_be_short_goes_first_and_the_rest_as_it_came():
    queue = FairQueue[str]()
    for name, cost in (("long", 300.0), ("a", 5.0), ("b", 5.0), ("short", 1.0)):
        queue.put(name, name, cost)
    assert through(queue) == ["short", "a", "b", "long"]


def test_what_waits_long_enough_goes_before_something_short():
    queue = FairQueue[str]()
    queue.put("long", "long", cost=60.0, now=0.0)
    queue.put("soon", "soon", cost=1.0, now=500.0)
    queue.put("late", "late", cost=1.0, now=700.0)
    assert through(queue) == ["soon", "long", "late"]


def test_nobody_holds_more_than_a_share_and_everybody_may_hold_one():
    queue = FairQueue[int](share=0.25)
    for number in range(6):
        queue.put(number, "ada")
    queue.put(6, "bob")
    begun = [queue.take(8) for _ in range(4)]
    assert begun == [("ada", 0), ("ada", 1), ("bob", 6), None]
    assert len(queue) == 4
    queue.done("ada")
    assert [queue.take(8), queue.take(8)] == [("ada", 2), None]
    small = FairQueue[int](share=0.25)
    small.put(0, "ada")
    assert small.take(1) == ("ada", 0)


def test_a_class_is_begun_in_the_order_of_what_its_submissions_took():
    begun: list[str] = []
    orders = [order("endless", 600.0), order("usual", 20.0), order("quick", 2.0)]
    assert len(list(run_jobs(orders, Here([1]), lambda job: None, begun.append))) == 3
    assert begun == ["quick", "usual", "endless"]


def test_what_is_lost_is_done_elsewhere_as_often_as_it_takes_and_is_no_trouble():
    executor = Here([2], lost=Counter(ada=7, bob=1))
    found = {job.submission.student: result for job, result in run_jobs(
        [order("ada"), order("bob"), order("cleo")], executor, lambda job: job.last
    )}  # fmt: skip
    assert found == {"ada": False, "bob": False, "cleo": False}


@pytest.mark.parametrize("deaths", [1, 2, 3])
def test_a_judge_that_dies_three_times_is_trouble_that_names_its_submission(deaths):
    executor = Here([2], died=Counter(ada=deaths))
    found = {job.submission.student: result for job, result in run_jobs(
        [order("ada"), order("bob")], executor, lambda job: job.last
    )}  # fmt: skip
    trouble = Trouble("ada", "the judge's process died three times; grade again")
    assert found == {"ada": True if deaths < 3 else trouble, "bob": False}


def test_places_that_come_while_a_class_is_graded_are_used():
    running: list[str] = []
    held: list[Future[object]] = []

    class Growing(Here):
        def submit(self, work: Callable[[Job], object], job: Job) -> Future[object]:
            running.append(job.submission.student)
            future: Future[object] = Future()
            held.append(future)
            if len(held) == 3:
                for one in held:
                    one.set_result(None)
            return future

    assert len(list(run_jobs([order(name) for name in "abc"], Growing([1, 3]), lambda job: None))) == 3
    assert running == ["a", "b", "c"], "the second began before the first was done"


def test_each_job_has_one_device_of_the_pool_and_none_is_used_twice_while_another_is_free():
    jobs = [replace(order(f"s{n}"), gpu=None) for n in range(4)]
    found = [gpu for _, gpu in run_jobs(jobs, Local(2, ["0", "1"]), at_work.gpu)]
    assert sorted(set(found)) == ["0", "1"]
    assert [gpu for _, gpu in run_jobs([replace(jobs[0], gpu="7")], Local(1), at_work.gpu)] == ["7"]
