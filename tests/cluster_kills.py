"""Ends workers, judges, the scheduler and the grader of a cluster at random moments, and compares what lies there then.

    python -m tests.cluster_kills 30      # kills; about a minute for five of them on a quiet core
    pytest tests/autograder/grading/test_cluster.py    # some of each kind

A class of four is graded here, undisturbed, and again and again by a cluster of two workers while somebody ends one
process after the other with SIGKILL. What is ended is started again, as whoever looks after the machines would do.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from autograder.course.course import Course
from tests.autograder.course_factory import NAME
from tests.autograder.fleet import CLASS, PROCESS, Fleet, copy_of, timeless
from tests.autograder.grading.test_batch import make_course
from tests.autograder.running import PATIENCE

KINDS = ("worker", "judge", "client", "scheduler")
LONGEST = 2.5  # seconds between two ends
AGAIN = 3  # times the same command is started where it ends with something open


def disturbed(fleet: Fleet, course: Course, kinds: list[str], chance: random.Random) -> list[str]:
    """Grade a class while processes end; what was ended, in order.

    Args:
        kinds: what is to be ended; those that were are taken from it.
    """
    ended: list[str] = []
    grader = fleet.grade(course)
    while True:
        time.sleep(chance.uniform(0.2, LONGEST))
        if grader.poll() is not None:
            break
        if not kinds:
            break
        kind, judges = kinds[0], fleet.judges()
        if kind == "client":
            grader.kill()
            grader.wait()
            grader = fleet.grade(course)
        elif kind == "scheduler":
            fleet.scheduler.kill()
            fleet.scheduler.wait()
            fleet.start_scheduler()
        elif kind == "worker":
            number = chance.randrange(len(fleet.workers))
            fleet.workers[number].kill()
            fleet.workers[number].wait()
            fleet.workers[number] = fleet.start_worker(number)
        elif judges:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(judges), signal.SIGKILL)
        else:  # none is at work yet
            continue
        ended.append(kinds.pop(0))
    for _ in range(AGAIN):
        if grader.wait(PATIENCE) == 0:
            return ended
        grader = fleet.grade(course)  # the machine failed, as it says itself
    raise AssertionError(fleet.said("grade"))


def differences(expected: dict[str, object], found: dict[str, object]) -> list[str]:
    """What is not as it should be."""
    return [line for name in sorted({*expected, *found}) for line in _within(name, expected.get(name), found.get(name))]


def _within(name: str, expected: object, found: object) -> Iterator[str]:
    """The innermost parts that differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted({*expected, *found}):
            yield from _within(f"{name}, {key}", expected.get(key), found.get(key))
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for number, (old, new) in enumerate(zip(expected, found, strict=True)):
            yield from _within(f"{name}, {number}", old, new)
    elif expected != found:
        yield f"{name}: {found!r:.400} instead of {expected!r:.400}"


def graded_here(fleet: Fleet, course: Course) -> dict[str, object]:
    """What an undisturbed grader of this machine leaves."""
    grader = fleet.start("grade", NAME, "--course", course.root, *PROCESS, "--jobs", 2)
    assert grader.wait(PATIENCE) == 0, fleet.said("said")
    return timeless(course)


def main() -> None:
    """As many kills as are asked for; the exit code says whether one left a trace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", nargs="?", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    chance = random.Random(wanted.seed)
    wrong = 0
    with tempfile.TemporaryDirectory() as place, Fleet(Path(place)) as fleet:
        course = make_course(fleet.folder / "class", CLASS)
        expected = graded_here(fleet, copy_of(course, course.root.with_name("here")))
        kinds = [chance.choice(KINDS) for _ in range(wanted.kills)]
        for number in count():
            copy = copy_of(course, course.root.with_name(f"round-{number}"))
            ended = disturbed(fleet, copy, kinds, chance)
            found = differences(expected, timeless(copy))
            wrong += bool(found)
            print(f"round {number}: ended {', '.join(ended) or 'nothing'}: {'; '.join(found) or 'equal'}", flush=True)
            if not kinds:
                break
    print(f"{wanted.kills} ends, {wrong} rounds that differ")
    sys.exit(min(wrong, 1))


if __name__ == "__main__":
    main()
