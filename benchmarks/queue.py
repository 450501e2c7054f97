"""Machines a course needs before a deadline, by simulation with measured service times and the queue that grades.

    python -m benchmarks.queue [--reports DEMO/course/reports/hw1] [--submissions 100000] [--minutes 10]

Submissions arrive in the six hours before a deadline, ever faster: each half hour has half as many again as the one
before. A student hands in four times on average, as a portal lets them. What a submission takes is drawn from what real
ones took (`TOOK`), some bring more, and one in twenty burns its whole budget whenever it is handed in. Who is next is
decided by `autograder.grading.executor.FairQueue` itself, beside "first come, first served" with the same arrivals.
What a submission is expected to take is what the student's last one took; of a first one, what is usual.

Prints the fewest machines on which all but one in a thousand of the submissions that do not burn their budget have
their verdict in time, how long the slowest took from arrival to verdict, and the core-hours of the work and of machines
that stand there for six hours.

TOOK: seconds of a core, in containers, of `autograder demo --jobs 1 --sandbox docker`, ten submissions of homework 1,
one of each kind: what each report says was charged to the student (`timings.charged`), and two seconds for the judge's
own part, which the clock showed beside it where nobody else used the machine. `--reports` takes another class's.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from autograder.grading.executor import IMPATIENCE, SHARE, FairQueue

JUDGE = 2.0  # seconds of a submission that are not the student's
TOOK = (18.9, 39.7, 2.7, 5.6, 18.2, 2.7, 22.5, 16.5, 20.1, 16.4)
HOURS, STEP, GROWTH = 6.0, 0.5, 1.5
EACH = 4  # hand-ins of a student
HOSTILE, BUDGET = 0.05, 600.0  # `submission_seconds` of the homeworks
PLACES = 16  # of a machine: a submission has a core
IN_TIME = 0.999  # of the submissions


@dataclass(frozen=True)
class HandIn:
    """One submission that arrives."""

    at: float
    student: str
    takes: float


@dataclass(frozen=True)
class Outcome:
    """Seconds from arrival to verdict of what does not burn its budget, and when the last was done."""

    waits: list[float]
    end: float

    def share(self, seconds: float) -> float:
        """How many had their verdict in time."""
        return sum(wait <= seconds for wait in self.waits) / len(self.waits)


def arrivals(count: int, took: Sequence[float], chance: random.Random) -> list[HandIn]:
    """A deadline's hand-ins, in order."""
    weights = [GROWTH**step for step in range(int(HOURS / STEP))]
    students = [f"s{number}" for number in range(max(1, count // EACH))]
    hostile = {student for student in students if chance.random() < HOSTILE}
    found = []
    for _ in range(count):
        step = chance.choices(range(len(weights)), weights)[0]
        student = chance.choice(students)
        takes = BUDGET if student in hostile else chance.choice(took) * chance.uniform(0.8, 1.25)
        found.append(HandIn((step + chance.random()) * STEP * 3600, student, takes))
    return sorted(found, key=lambda one: one.at)


def simulated(hand_ins: Sequence[HandIn], places: int, *, fair: bool, usual: float) -> Outcome:
    """Grade them all on so many places."""
    queue = FairQueue[HandIn](SHARE if fair else 1.0)
    last: dict[str, float] = {}
    running: list[tuple[float, int, HandIn]] = []
    free, number, now, waits = places, 0, 0.0, []
    while number < len(hand_ins) or running:
        if running and (number == len(hand_ins) or running[0][0] <= hand_ins[number].at):
            now, _, done = heapq.heappop(running)
            free += 1
            queue.done(done.student)
            last[done.student] = done.takes
            if done.takes < BUDGET:
                waits.append(now - done.at)
        else:
            one = hand_ins[number]
            now, number = one.at, number + 1
            queue.put(one, one.student, last.get(one.student, usual) if fair else 0.0, now)
        while free and (chosen := queue.take(places)) is not None:
            free -= 1
            heapq.heappush(running, (now + chosen[1].takes, id(chosen[1]), chosen[1]))
    return Outcome(waits, now)


def fewest(hand_ins: Sequence[HandIn], seconds: float, *, fair: bool, usual: float) -> tuple[int, Outcome]:
    """Machines that are enough."""
    low, high = 0, 1
    while (found := simulated(hand_ins, high * PLACES, fair=fair, usual=usual)).share(seconds) < IN_TIME:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        outcome = simulated(hand_ins, middle * PLACES, fair=fair, usual=usual)
        low, high, found = (low, middle, outcome) if outcome.share(seconds) >= IN_TIME else (middle, high, found)
    return high, found


def main() -> None:
    """Print the table of `docs/scale.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=Path, help="a folder of reports, whose times are taken in the place of TOOK")
    parser.add_argument("--submissions", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    took: Sequence[float] = TOOK
    if asked.reports is not None:
        reports = [json.loads(path.read_text()) for path in sorted(asked.reports.glob("*.json"))]
        took = [report["timings"]["charged"] + JUDGE for report in reports]
    hand_ins = arrivals(asked.submissions, took, random.Random(asked.seed))
    work, usual = sum(one.takes for one in hand_ins) / 3600, median(took)
    print(f"{len(hand_ins)} submissions, {work:.0f} core-hours of work, median {usual:.1f} s; {PLACES} cores a machine")
    print("| who is next | machines | in time | half had theirs after | slowest | core-hours, standing there |")
    print("|---|---|---|---|---|---|")
    for fair, name in ((True, f"shortest, waits counted {1 / IMPATIENCE:g} to 1"), (False, "first come")):
        machines, outcome = fewest(hand_ins, 60 * asked.minutes, fair=fair, usual=usual)
        standing = machines * PLACES * max(HOURS, outcome.end / 3600)
        share, slowest = outcome.share(60 * asked.minutes), max(outcome.waits) / 60
        print(
            f"| {name} | {machines} | {100 * share:.2f} % | {median(outcome.waits):.0f} s | {slowest:.1f} min |"
            f" {standing:.0f} |"
        )


if __name__ == "__main__":
    main()
