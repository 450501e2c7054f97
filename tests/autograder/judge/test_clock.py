"""A student is charged what their code took: neither what the machine took from it nor what the grader did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from autograder.errors import Starved
from autograder.homework.settings import Budgets
from autograder.judge import clock
from autograder.judge.clock import Budget, Clock, ceiling, forgiven, sandbox_limits
from autograder.judge.runner import verdict
from autograder.judge.session import Session
from autograder.sandbox import Ending, Reading
from autograder.student import Student
from tests.autograder.judge.test_session import fault_of, session_of, trained
from tests.autograder.providers import ForkProvider, ScriptedProvider, cells, good
from tests.clock import KINDS, PLACES, expected, small_table
from tests.load import busy


@pytest.fixture
def provider() -> Iterator[ForkProvider]:
    source = ForkProvider()
    yield source
    source.close()


# --- the formula


@pytest.mark.parametrize(
    ("wall", "cpu", "waited", "throttled", "own", "cores", "charge"),
    [
        (10, 0, 0, 0, 0, 1, 10),  # a sleeper, a deadlock, an endless read
        (10, 10, 0, 0, 0, 1, 10),  # one thread on an idle machine
        (10, 1, 9, 0, 0, 1, 1),  # the same on a busy one
        (10, 3, 5, 0, 0, 1, 5),  # it slept for two seconds in between
        (10, 10, 30, 0, 0, 1, 10),  # four processes that share their quota of one processor wait for each other
        (10, 20, 20, 0, 0, 2, 10),  # four processes on two idle processors
        (10, 2, 38, 0, 0, 2, 1),  # four processes on two busy ones: as if both had been theirs
        (10, 5, 5, 5, 0, 0.5, 10),  # a quota of half a processor is not the machine's doing
        (10, 0.5, 0.5, 0, 9, 1, 0.5),  # the answer lay there, and the judge was not run
        (10, 1, -3, 0, 0, 1, 10),  # nothing can be forgiven that was not waited for
    ],
)
def test_the_charge_is_wall_time_less_what_the_machine_took(wall, cpu, waited, throttled, own, cores, charge):
    after = Reading(5 + cpu, 7 + throttled, 11 + waited)
    assert wall - forgiven(Reading(5, 7, 11), after, wall, own, cores)[0] == pytest.approx(charge)


@pytest.mark.parametrize("blind", [Reading(), Reading(cpu=3.0), Reading(waited=3.0)])
def test_where_the_machine_does_not_tell_nothing_is_forgiven(blind):
    assert forgiven(Reading(0, 0, 0), blind, 10, 0, 1) == forgiven(blind, Reading(9, 0, 9), 10, 0, 1) == (0, 0)


# --- a machine that tells what a test says


class Machine(ScriptedProvider):
    """One whose sandboxes take `seconds` to answer what `slow` picks, and say that they waited for a share of it."""

    def __init__(self, share: float | None, slow: Callable[[dict], bool], seconds: float, **unknown: dict) -> None:
        def script(request):
            time.sleep(seconds if slow(request) else 0)
            return unknown.get(request.get("name")) or good(request)

        super().__init__(*[script] * 9)
        self.share = share

    def _start(self):
        sandbox, begin = super()._start(), time.monotonic()
        share = self.share
        if share is not None:
            sandbox.reading = lambda: Reading(0.0, 0.0, share * (time.monotonic() - begin))
        return sandbox


def asks(op: str) -> Callable[[dict], bool]:
    return lambda request: request["op"] == op


def test_what_the_machine_took_is_forgiven_and_the_answer_counts():
    session = session_of(Machine(1.0, asks("resolve"), 1.0), "x = 1", check_seconds=0.3, submission_seconds=0.5)
    with session.check():
        assert Student(session, "a").x == 7
    assert not session.clock.wall_time


def test_a_sleeper_pays_and_the_message_names_limit_and_use():
    session = session_of(Machine(0.0, asks("resolve"), 9.0), "x = 1", check_seconds=0.3)
    with session.check():
        fault = fault_of(lambda: Student(session, "a").x)
    assert fault.reason == "timeout"
    assert "this check did not end in time and was stopped: it used 0.4 s of 0.3 s" in fault.message


def test_a_check_whose_time_is_used_up_starts_no_sandbox():
    machine = Machine(0.0, asks("resolve"), 9.0)
    session = session_of(machine, "x = 1", check_seconds=0.3)
    with session.check():
        first = fault_of(lambda: Student(session, "a").x)
        assert fault_of(lambda: Student(session, "a").x).message == first.message
    assert len(machine.started) == 1


@pytest.fixture
def low(monkeypatch):
    """A ceiling that is reached at once."""
    monkeypatch.setattr(clock, "STRETCH", 1.5)
    monkeypatch.setattr(clock, "SPARE", 0.0)


def starved_by(ask: Callable[[], object]) -> Starved:
    with pytest.raises(Starved) as caught:
        ask()
    return caught.value


@pytest.mark.usefixtures("low")
def test_the_ceiling_is_the_machines_and_what_else_there_is_is_still_graded():
    session = session_of(Machine(1.0, lambda r: r.get("name") == "x", 5.0), "x = 1", check_seconds=0.3)
    with session.check():
        fault = starved_by(lambda: Student(session, "a").x)
    assert "the machine was too busy: this check used 0." in str(fault)
    assert "of 0.3 s" in str(fault)
    with session.check():
        assert Student(session, "a").y == 7


@pytest.mark.usefixtures("low")
def test_a_cell_the_machine_was_too_busy_for_costs_nobody_anything():
    missing = {"ok": False, "error": {"kind": "missing", "type": "Fault", "message": "`x` is not defined"}}
    machine = Machine(1.0, lambda r: r.get("index") == 0, 5.0, x=missing)
    session = session_of(machine, "x = 1", "y = 2", cell_seconds=0.3)
    session.play()
    assert session.runs[0].status == "starved"
    assert [request.get("index") for request in machine.started[1].requests] == [None, 1, 2, 3]
    result = verdict(starved_by(lambda: Student(session, "a").x))
    assert (result["outcome"], result["starved"]) == ("infrastructure", True)
    assert "`x` is not defined; the machine was too busy: cell 1 used" in result["message"]
    assert Student(session, "b").y == 7


@pytest.mark.usefixtures("low")
@pytest.mark.parametrize("share", [1.0, None], ids=["too busy", "not told"])
def test_what_will_be_tried_again_is_given_up_at_once(share):
    machine = Machine(share, asks("run_cell"), 5.0)
    notebook = cells("x = 1", "y = 2")
    session = Session(machine, notebook, {}, Budgets(cell_seconds=0.3), seed=0, last=False)
    for _ in range(3):
        starved_by(session.play)
        starved_by(lambda: session.request("resolve", scope="a", name="x"))
    assert len(machine.started) == 1


@pytest.mark.usefixtures("low")
def test_where_nothing_is_told_wall_time_counts_once_nobody_tries_again():
    session = session_of(Machine(None, asks("resolve"), 5.0), "x = 1", check_seconds=0.3)
    with session.check():
        fault = fault_of(lambda: Student(session, "a").x)
    assert fault.reason == "timeout"
    assert "s of 0.3 s by the clock" in fault.message
    assert session.clock.wall_time


def test_a_sandbox_that_was_ended_for_its_age_is_nobodys_fault():
    provider = ScriptedProvider(lambda r: None if r["op"] == "resolve" else good(r))
    session = session_of(provider, "x = 1")
    session.play()
    provider.started[0].ending = lambda: Ending("lifetime", "it was there for longer than it may last")
    starved_by(lambda: Student(session, "a").x)


# --- an audit runs the checks of one submission many times


def test_checks_under_each_seed_may_take_as_much_as_under_the_first(provider):
    source = "import time\ntime.sleep(0.2)\ndef f(): time.sleep(0.3); return 1"
    session = session_of(provider, source, submission_seconds=1.2)
    session.play()
    for _ in range(5):
        session.clock.begin_checks()
        with session.check():
            assert Student(session, "a").f() == 1
        assert session.clock.whole.used >= 0.5  # the notebook's own time counts each time
    with session.check():
        assert fault_of(lambda: [Student(session, "a").f() for _ in range(4)]).reason == "timeout"


# --- the grader's own work


def test_playing_again_and_starting_again_is_charged_to_neither_check_nor_submission(provider):
    source = "import os, time\ntime.sleep(0.5)\ndef boom(): os._exit(0)\ndef f(): return 1"
    session = session_of(provider, source, check_seconds=0.3, submission_seconds=0.9)
    for _ in range(4):
        with session.check():
            assert fault_of(Student(session, "a").boom).reason == "crash"
    with session.check():
        assert Student(session, "a").f() == 1
    assert session.clock.whole.used < 0.9 + clock.GRACE


def test_a_death_is_not_charged_the_moment_before_it_of_which_nobody_can_tell_any_more(provider):
    source = "import os, time\ndef boom():\n    time.sleep(0.1)\n    os._exit(0)"
    session = session_of(provider, source, check_seconds=5, submission_seconds=0.5)
    for _ in range(8):
        with session.check():
            assert fault_of(Student(session, "a").boom).reason == "crash"


def test_training_once_more_is_charged_to_its_own_budget_alone(provider):
    training = ("time.sleep(0.5)\nmodel = 7", "train", "train:t")
    session = session_of(provider, "import os, time\ndef boom(): os._exit(0)", training, submission_seconds=0.9)
    for _ in range(3):
        with session.check(0.3):
            assert trained(session).model == 7
        fault_of(Student(session, "a").boom)


def test_the_judges_own_arithmetic_is_nobodys_time(provider):
    session = session_of(provider, "def f(): return 1", check_seconds=0.3, submission_seconds=0.5)
    with session.check():
        for _ in range(3):
            assert Student(session, "a").f() == 1
            time.sleep(0.4)


def test_a_notebook_that_is_played_again_and_again_comes_to_an_end(provider):
    source = "import os, time\ntime.sleep(0.6)\ndef boom(): os._exit(0)"
    session = session_of(provider, source, submission_seconds=1.0)
    faults = [fault_of(lambda: Student(session, "a").boom()) for _ in range(10)]
    assert "played again and again" in faults[-1].message
    assert faults[-1].reason == "timeout"


def test_a_sandbox_outlives_what_its_budgets_allow():
    budgets = Budgets(submission_seconds=100)
    limits = sandbox_limits(budgets)
    assert limits.wall_seconds > 2 * ceiling(100)
    assert limits.cpu_cap > 2 * 100


def test_many_short_answers_are_charged_what_they_took_and_no_more():
    budgets = Budgets(check_seconds=5, submission_seconds=5)
    charged = Clock(budgets, last=True)
    waiting = {"so far": 0.0}

    class Sandbox:
        cores = 1.0

        def reading(self):
            return Reading(0.0, 0.0, waiting["so far"])

    charged.watch(Sandbox())
    with charged.check(None):
        for _ in range(60):
            with charged.charging(charged.of_check()) as deadline:
                assert deadline() > time.monotonic()
                time.sleep(0.02)
                waiting["so far"] += 0.02
        asked = charged.of_check()
        assert charged.fault(asked) is None
        assert asked[0].used <= asked[0].wall - 1.2 + clock.LOOK + 0.1


def test_a_budget_without_end_never_ends():
    assert not Budget("x", float("inf"), used=1e9, wall=1e9).spent


# --- a busy machine


@pytest.mark.busy
def test_the_table_of_reason_codes_is_that_of_a_quiet_machine():
    """The small one; `python -m tests.clock` has the whole."""
    with busy(4):
        assert small_table() == {(place, kind): expected(place, kind) for place in PLACES for kind in KINDS}
