"""The clock: a request is charged what it took, less the time in which the machine did not run the student's code.

    forgiven = max(0, min(waited, wall − cpu / cores) − throttled)        charge = wall − forgiven

`waited` is the time the sandbox was ready to run and was not run, and the judge's own time of that kind, in which an
answer lay unread. So a sleeper is charged its wall time, one thread on a busy machine its CPU time, and four that spin
on an idle machine their wall time: what the sandbox's own quota or the student's own processes kept from running is not
the machine's doing. Only requests are timed: starting sandboxes, playing the notebook again and the judge's arithmetic
are the grader's own work.

A budget ends when its seconds are charged, or at a wide ceiling on wall time, which is the machine's doing. Where the
machine does not tell who waited, wall time counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from autograder.errors import Starved, StudentFault
from autograder.homework.settings import Budgets
from autograder.sandbox import Limits, Reading, Sandbox, waited_here
from autograder.worker.wire import Deadline

STRETCH, SPARE = 4.0, 10.0  # the ceiling: as many times the budget, and seconds on top
GRACE = 0.1  # seconds more than the budget: of a wait that is not over the kernel tells nothing yet
AGAIN = 4.0  # what playing the notebook again and again may take, in times of the submission's budget
LOOK = 0.25  # seconds of a request after which the sandbox is read again: what a thread waited is forgotten with it
STEP = 0.01  # seconds after which a deadline is asked again, at least


@dataclass(eq=False)
class Budget:
    """Seconds that something may take, and what was taken of them.

    Args:
        what: begins the sentence "… did not end in time".
        used: charged so far.
        wall: what the requests took, before anything was forgiven.
    """

    what: str
    seconds: float
    used: float = 0.0
    wall: float = 0.0

    @property
    def left(self) -> float:
        """Seconds until it ends, if nothing is forgiven meanwhile."""
        return min(self.seconds + GRACE - self.used, ceiling(self.seconds) - self.wall)

    @property
    def spent(self) -> bool:
        """True once nothing more may be asked under it."""
        return self.left <= 0

    def ending(self, told: bool) -> tuple[StudentFault | Starved, bool]:
        """What a spent budget means, and whether the machine may be to blame.

        Args:
            told: the machine told what the sandbox waited for.
        """
        use = f"used {self.used:.1f} s of {self.seconds:g} s"
        if self.used < self.seconds:
            text = f"the machine was too busy: {self.what} {use} in {self.wall:.0f} s and was stopped"
            return Starved(text), True
        text = f"{self.what} did not end in time and was stopped: it {use}" + ("" if told else " by the clock")
        return StudentFault(text, reason="timeout"), not told


def ceiling(seconds: float) -> float:
    """Wall time after which a budget ends, whatever was charged."""
    return STRETCH * seconds + SPARE


def sandbox_limits(budgets: Budgets) -> Limits:
    """Limits of a sandbox that the clock, and never its age, should end: it outlives the notebook, played once more."""
    seconds = budgets.submission_seconds
    return Limits(
        memory_mb=budgets.memory_mb, wall_seconds=2 * ceiling(seconds) + seconds, cpu_seconds=int(2 * seconds) + 30
    )


class Clock:
    """The budgets of one submission.

    Args:
        last: nobody tries again what the machine was too busy for; otherwise the clock gives up once that happened.
    """

    def __init__(self, budgets: Budgets, last: bool) -> None:
        self.whole = Budget("the whole submission", budgets.submission_seconds)
        self.again = Budget("the notebook, played again and again,", AGAIN * budgets.submission_seconds)
        self.wall_time = False  # some sandbox's machine did not tell what it waited for
        self.gave_up: Starved | None = None
        self._last = last
        self._default = budgets.check_seconds
        self._check = Budget("this check", float("inf"))
        self._train_seconds = budgets.train_seconds
        self._training = Budget("training", budgets.train_seconds)
        self._seen: set[object] = set()
        self._before: tuple[float, float] | None = None  # what the submission had taken when its checks first began
        self._meter: Meter | None = None

    def begin_checks(self) -> None:
        """The checks are to run, for the first time or once more under another seed, and may take as much each time."""
        if self._before is None:
            self._before = self.whole.used, self.whole.wall
        self.whole.used, self.whole.wall = self._before

    def watch(self, sandbox: Sandbox) -> None:
        """Charge what this sandbox takes from now on."""
        self._meter = Meter(sandbox)
        self.wall_time |= not self._meter.tells

    def leave(self) -> None:
        """The sandbox is gone, or is about to be."""
        if self._meter is not None:
            self._meter.leave()

    @contextmanager
    def check(self, seconds: float | None) -> Iterator[None]:
        """Bound everything of `of_check` inside to `seconds`, or the default; training has budgets of its own."""
        before, self._check = self._check, Budget("this check", seconds or self._default)
        self._training = Budget("training in this check", self._train_seconds)
        try:
            yield
        finally:
            self._check = before

    def of_check(self) -> tuple[Budget, Budget]:
        """What a check's request is charged to."""
        return self._check, self.whole

    def of_training(self) -> tuple[Budget, Budget]:
        """What is charged that a check trains anew: one budget for all of it."""
        return self._training, self.whole

    def of_run(self, key: object, what: str, seconds: float) -> tuple[Budget, Budget]:
        """What running something is charged to: the submission the first time, the grader's own work from then on."""
        whole = self.again if key in self._seen else self.whole
        self._seen.add(key)
        return Budget(what, seconds), whole

    def charging(self, budgets: tuple[Budget, ...]) -> AbstractContextManager[Deadline]:
        """Charge what happens inside; the deadline passes when one of the budgets is spent."""
        assert self._meter is not None
        return self._meter.charging(budgets)

    def fault(self, budgets: tuple[Budget, ...]) -> StudentFault | Starved | None:
        """What it means that one of them is spent, the widest first; None if none is."""
        if self._meter is not None and any(budget.spent for budget in budgets):
            self._meter.look()
        spent = next((budget for budget in reversed(budgets) if budget.spent), None)
        if spent is None:
            return None
        fault, doubtful = spent.ending(told=not self.wall_time)
        if doubtful and not self._last:
            self.gave_up = Starved(str(fault))
        return self.gave_up or fault


class Meter:
    """Charges what one sandbox takes."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._last = sandbox.reading()
        self.tells = self._last.waited is not None
        self._budgets: tuple[Budget, ...] = ()
        self._wall = self._own = 0.0  # of requests since the last reading: wall time, and waits that it does not tell
        self._mark = self._own_mark = 0.0
        self._until = 0.0

    @contextmanager
    def charging(self, budgets: tuple[Budget, ...]) -> Iterator[Deadline]:
        """As `Clock.charging` has it."""
        if budgets != self._budgets or self._wall >= LOOK:
            self.look()
        if budgets != self._budgets:
            self._budgets, self._own = budgets, 0.0
        self._mark, self._own_mark = time.monotonic(), waited_here()
        self._until = self._next()
        try:
            yield self._deadline
        finally:
            self._advance()
            self._own += waited_here() - self._own_mark

    def _deadline(self) -> float:
        if time.monotonic() < self._until:
            return self._until
        self._advance()
        if self._wall >= LOOK or any(budget.spent for budget in self._budgets):
            self.look()
        self._until = self._next()
        self._own_mark = waited_here()  # nothing had come: until now the judge kept nobody waiting
        return self._until

    def _next(self) -> float:
        """When to ask again, or a moment that has passed."""
        left = min(budget.left for budget in self._budgets)
        return self._mark + max(STEP, min(left, LOOK - self._wall)) if left > 0 else 0.0

    def _advance(self) -> None:
        """Charge what has passed; what is forgiven of it is given back at the next reading."""
        now = time.monotonic()
        wall, self._mark = now - self._mark, now
        self._wall += wall
        for budget in self._budgets:
            budget.used += wall
            budget.wall += wall

    def look(self) -> None:
        """Read the sandbox and give back what it tells to be the machine's doing."""
        if self.tells:
            before, self._last = self._last, self._sandbox.reading()
            back, late = forgiven(before, self._last, self._wall, self._own, self._sandbox.cores)
            for budget in self._budgets:
                budget.used -= back
            self._own = min(late, GRACE)  # a wait that began before the last reading and ended after it
        self._wall = 0.0

    def leave(self) -> None:
        """Of what passed since the last reading nobody can tell any more whose it was, so nobody pays for it."""
        for budget in self._budgets:
            budget.used -= self._wall
        self._wall = self._own = 0.0


def forgiven(before: Reading, after: Reading, wall: float, own: float, cores: float) -> tuple[float, float]:
    """Seconds of `wall` that were the machine's doing, and seconds waited that cannot have been; 0 if nothing is told.

    Args:
        wall: what requests took between the two readings.
        own: seconds of waiting that the readings do not tell: answers lay unread since the judge was not run.
        cores: how many processors the sandbox can keep busy at once.
    """
    if before.cpu is None or after.cpu is None or before.waited is None or after.waited is None:
        return 0.0, 0.0
    waited = after.waited - before.waited + own
    idle = wall - (after.cpu - before.cpu) / cores
    return max(0.0, min(waited, idle) - (after.throttled - before.throttled)), max(0.0, waited - idle)
