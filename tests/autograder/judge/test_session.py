"""A session survives whatever happens to a sandbox, and charges a submission with nothing but its own doing."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
import torch

from autograder.errors import Infrastructure, MissingName, StudentFault, UserError
from autograder.homework.settings import Budgets
from autograder.judge import restarts
from autograder.judge.session import ACQUIRE_ATTEMPTS, FORGERIES, Session
from autograder.report import CellRun
from autograder.student import Student
from autograder.worker.wire import encode
from tests.autograder.providers import FailingProvider, FakeProvider, ForkProvider, ScriptedProvider, cells, good

ENDLESS = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
BUDGETS = Budgets(cell_seconds=5, check_seconds=5, train_seconds=5, submission_seconds=30)


@pytest.fixture
def provider() -> Iterator[ForkProvider]:
    source = ForkProvider()
    yield source
    source.close()


def session_of(provider: FakeProvider, *sources: object, **budgets: float) -> Session:
    chosen = Budgets(**{**vars(BUDGETS), **budgets})
    return Session(provider, cells(*sources), {}, chosen, seed=0)


def fault_of(action, *arguments: object) -> StudentFault:
    with pytest.raises(StudentFault) as caught:
        action(*arguments)
    return caught.value


# --- a cell that ends the sandbox


@pytest.mark.parametrize(
    ("source", "reason", "status", "words"),
    [
        ("import os; os._exit(0)", "crash", "crash", "exit code 0"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "crash", "crash", "SIGKILL"),
        ("import ctypes; ctypes.string_at(0)", "crash", "crash", "segmentation fault"),
        (ENDLESS, "timeout", "timeout", "in time"),
        ("import time\nwhile True: time.sleep(9)", "timeout", "timeout", "in time"),
    ],
    ids=["leaves", "kills itself", "segfaults", "swallows everything", "sleeps"],
)
def test_a_cell_that_ends_the_process_costs_its_own_task(provider, source, reason, status, words):
    session = session_of(provider, "one = 1", f"two = 2\n{source}", "three = 3", cell_seconds=0.5)
    session.play()
    assert Student(session, "a").one == 1
    assert Student(session, "c").three == 3
    fault = fault_of(lambda: Student(session, "b").two)
    assert fault.reason == reason
    assert words in fault.message
    assert "`two`" in fault.message
    assert [session.runs[position].status for position in range(6)] == ["ok", "ok", status, "ok", "ok", "ok"]
    assert len(provider.started) == 2


def test_every_cell_that_ends_the_process_is_left_out_once(provider):
    session = session_of(provider, "import os; os._exit(1)", "x = 1", "import os; os._exit(2)", "y = 2")
    session.play()
    assert (Student(session, "d").x, Student(session, "d").y) == (1, 2)
    assert len(provider.started) == 3


def test_a_cell_that_fails_explains_the_names_that_are_missing_after_it(provider):
    session = session_of(provider, "def f(): return 1", "def g(:\n    return 2", "h = 1 / 0")
    assert Student(session, "a").f() == 1
    assert "SyntaxError" in fault_of(lambda: Student(session, "b").g).message
    fault = fault_of(lambda: Student(session, "c").h)
    assert fault.reason == "missing"
    assert "the cell that begins with `h = 1 / 0` failed with ZeroDivisionError" in fault.message
    assert isinstance(fault, MissingName), "hasattr works"


def test_a_text_cell_that_is_never_answered_holds_up_nothing_but_itself():
    notebook = cells("x = 1", "y = 2")
    notebook[1] |= {"kind": "markdown"}
    silent = ScriptedProvider(lambda r: b"" if r.get("index") == 1 else good(r), good)
    session = Session(silent, notebook, {}, Budgets(cell_seconds=0.3), seed=0)
    session.play()
    assert [request.get("index") for request in silent.started[1].requests] == [None, 0, 2, 3]


def test_reading_the_notebook_is_no_cell_of_the_students():
    def reads_slowly(request):
        time.sleep(0.6 if request["op"] == "load" else 0)
        return good(request)

    session = Session(ScriptedProvider(reads_slowly), cells("x = 1"), {}, Budgets(cell_seconds=0.2), seed=0)
    session.play()
    assert {run.status for run in session.runs.values()} == {"ok"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a machine without a GPU")
def test_a_gpu_that_is_not_there_is_the_machines_doing_and_no_silent_cpu(provider):
    session = Session(provider, cells("x = 1"), {}, BUDGETS, seed=0, device="cuda")
    with pytest.raises(Infrastructure, match="a GPU was asked for"):
        session.play()


def test_how_a_gpu_computes_is_kept_for_the_report_and_its_share_of_memory_is_asked_for():
    asked = []

    def with_one(request):
        if request["op"] == "load":
            asked.append((request["device"], request["gpu_memory_mb"]))
            return {"ok": True, "value": {"cells": 1, "device": "cuda", "settled": {"TF32": "off"}}}
        return good(request)

    budgets = Budgets(gpu_memory_mb=4096)
    session = Session(ScriptedProvider(with_one), cells("x = 1"), {}, budgets, seed=0, device="cuda")
    session.play()
    assert (asked, session.settled) == ([("cuda", 4096)], {"TF32": "off"})


# --- checks


def test_a_sandbox_that_dies_in_a_check_is_replaced_for_the_next(provider):
    session = session_of(provider, "import os\ndef f(): return 1\ndef boom(): os._exit(3)")
    with session.check():
        fault = fault_of(Student(session, "a").boom)
    assert (fault.reason, "exit code 3" in fault.message) == ("crash", True)
    with session.check():
        assert Student(session, "a").f() == 1
    assert len(provider.started) == 2


def test_a_check_has_a_deadline_and_a_replay_is_not_charged_to_it(provider):
    session = session_of(
        provider, "import time\ntime.sleep(0.6)\ndef f(): return 1\ndef slow():\n    while True: time.sleep(1)"
    )
    session.play()
    with session.check(0.3):
        student = Student(session, "a")
        fault = fault_of(student.slow)
    assert fault.reason == "timeout"
    assert "this check did not end in time" in fault.message
    with session.check(0.3):  # the replay alone takes 0.6
        assert Student(session, "a").f() == 1


def test_many_short_calls_of_one_check_share_its_deadline(provider):
    session = session_of(provider, "import time\ndef nap(): time.sleep(0.1)")
    session.play()
    nap = Student(session, "a").nap
    with session.check(0.45):
        fault = fault_of(lambda: [nap() for _ in range(20)])
    assert fault.reason == "timeout"


def test_a_handle_of_a_dead_sandbox_is_a_fault_and_never_another_object(provider):
    session = session_of(provider, "import os\nclass A:\n    v = 1\ndef boom(): os._exit(0)\nclass B:\n    v = 2")
    student = Student(session, "a")
    stale, boom = student.A(), student.boom
    fault_of(boom)
    others = [Student(session, "a").B() for _ in range(5)]
    assert all(other.v == 2 for other in others)
    fault = fault_of(lambda: stale.v)
    assert fault.reason in ("missing", "crash", "wrong", "tampered")
    assert Student(session, "a").B().v == 2, "and the sandbox lives on"


def test_giving_up_many_handles_of_a_dead_sandbox_releases_none_of_the_next(provider):
    session = session_of(provider, "import os\nclass A: v = 1\ndef boom(): os._exit(0)")
    student = Student(session, "a")
    stale = [student.A() for _ in range(300)]
    fault_of(student.boom)
    kept = [Student(session, "a").A() for _ in range(300)]
    del stale
    assert all(handle.v == 1 for handle in kept)


# --- training


def train_cells(tmp_path, body: str) -> tuple[object, ...]:
    log = f"open({str(tmp_path / 'log')!r}, 'a').write('trained\\n')\n"
    return "import os, time\ndef boom(): os._exit(0)", (f"{log}{body}", "train", "train:t")


def times_trained(tmp_path) -> int:
    return len((tmp_path / "log").read_text().splitlines())


def trained(session: Session) -> Student:
    return Student(session, "b", training={"t": {"name": "model"}}).trained("t")


def test_training_runs_once_per_sandbox(provider, tmp_path):
    session = session_of(provider, *train_cells(tmp_path, "model = 7"))
    assert [trained(session).model for _ in range(3)] == [7, 7, 7]
    assert times_trained(tmp_path) == 1
    fault_of(Student(session, "a").boom)
    assert trained(session).model == 7
    assert times_trained(tmp_path) == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [("raise ValueError('no')", "crash"), ("os._exit(1)", "crash"), ("time.sleep(9)", "timeout"), ("x = 1", "missing")],
    ids=["raises", "kills", "hangs", "defines nothing"],
)
def test_failed_training_is_not_repeated_not_even_in_the_next_sandbox(provider, tmp_path, body, reason):
    session = session_of(provider, *train_cells(tmp_path, body), train_seconds=0.5)
    for _ in range(2):
        fault = fault_of(trained, session)
        assert fault.reason in (reason, "crash" if reason == "missing" else reason)
    fault_of(Student(session, "a").boom)
    fault_of(trained, session)
    assert times_trained(tmp_path) == 1


def test_training_has_its_own_budget(provider, tmp_path):
    session = session_of(provider, *train_cells(tmp_path, "time.sleep(0.6)\nmodel = 7"))
    session.play()
    with session.check(0.3):
        assert trained(session).model == 7


# --- the whole submission


def test_many_short_stalls_end_with_the_submissions_time(provider, monkeypatch):
    monkeypatch.setattr(restarts, "STARTS", 100)  # not by their number, on a machine however busy
    stall = "import time\ndef stall():\n    time.sleep(0.4)\n    return 1\ntime.sleep(0.2)"
    session = session_of(provider, *[stall] * 20, cell_seconds=0.3, check_seconds=0.3, submission_seconds=2)
    faults = []
    for _ in range(40):
        with session.check():
            faults.append(fault_of(lambda: Student(session, "a").stall()))
    session.close()
    assert {fault.reason for fault in faults} == {"timeout"}
    assert re.search(r"the whole submission .* used [\d.]+ s of 2 s", faults[-1].message)
    assert len(provider.started) < 40, "once it is used up no sandbox is started any more"


def test_a_loop_that_swallows_every_exception_ends_with_the_submissions_time(provider):
    deaf = "import signal\nfor n in (2, 15): signal.signal(n, signal.SIG_IGN)\n"
    session = session_of(provider, deaf + ENDLESS, submission_seconds=1)
    assert fault_of(session.play).reason == "timeout"
    assert fault_of(session.request, "resolve").reason == "timeout"
    assert len(provider.started) == 1
    assert provider.started[0].killed


def test_what_sandboxes_take_to_start_is_not_the_submissions_time():
    dies = ScriptedProvider(lambda r: good(r) if r["op"] == "load" else None, good, start_seconds=0.6)
    session = session_of(dies, "x = 1", submission_seconds=1)
    session.play()
    assert len(dies.started) == 2
    assert Student(session, "a").x == 7


# --- what arrives on the channel


SCAN = """
import os, socket, stat, struct, json
def channel():
    for name in os.listdir('/proc/self/fd'):
        try:
            if stat.S_ISSOCK(os.stat(int(name)).st_mode): return int(name)
        except OSError: pass
def forge(message):
    header = json.dumps({'v': {'d': [[k, v] for k, v in message.items()]}, 't': []}).encode()
    os.write(channel(), b'AGW1' + struct.pack('<IQ', len(header), 0) + header)
def honest(): return 7
"""


@pytest.mark.parametrize(
    "forgery",
    [
        'def cheat(): os.write(channel(), b\'{"ok": true, "value": 1}\' * 9)',
        "def cheat(): forge({'id': 10**6, 'ok': True, 'value': 1, 'stdout': ''})",
        "def cheat(): forge({'id': True, 'ok': True, 'value': 1, 'stdout': ''})",
        "def cheat(): forge({'ok': True, 'value': 1, 'stdout': ''})",
        "def cheat(): forge({'points': 100})",
        "def cheat(): os.write(channel(), b'AGW1' + struct.pack('<IQ', 2**31, 2**62))",
        "def cheat(): os.write(channel(), b'AGW1' + struct.pack('<IQ', 4, 0) + b'[[[[')",
    ],
    ids=["text", "wrong number", "a number that equals", "no number", "no reply", "endless", "no JSON"],
)
def test_a_forged_answer_is_tampering_and_costs_its_own_check(provider, forgery):
    session = session_of(provider, SCAN + forgery)
    with session.check():
        fault = fault_of(lambda: Student(session, "a").cheat())
    assert fault.reason == ("output" if "2**62" in forgery else "tampered")
    with session.check():
        assert Student(session, "a").honest() == 7
    assert len(provider.started) == 2


def test_a_submission_that_forges_again_and_again_is_not_played_again(provider):
    session = session_of(provider, f"{SCAN}def cheat(): os.write(channel(), b'points: 100, points: 100')")
    reasons = [fault_of(lambda: Student(session, "a").cheat()).reason for _ in range(FORGERIES + 3)]
    assert set(reasons) == {"tampered"}
    assert len(provider.started) == FORGERIES


def test_a_second_answer_to_one_question_is_tampering_at_the_next(provider):
    cheat = "import threading\ndef cheat(): forge({'id': 10**6, 'ok': True, 'value': 1, 'stdout': ''})\n"
    session = session_of(provider, f"{SCAN}{cheat}def plan(): threading.Timer(0.2, cheat).start()")
    assert Student(session, "a").plan() is None
    time.sleep(0.4)
    assert fault_of(lambda: Student(session, "a").honest).reason == "tampered"


def test_an_end_in_the_middle_of_a_message_is_a_crash():
    whole = b"".join(bytes(part) for part in encode({"id": 4, "ok": True, "value": torch.ones(1000), "stdout": ""}))
    for cut in (1, 10, 40, len(whole) - 1):
        provider = ScriptedProvider(
            lambda r, cut=cut: good(r) if r["op"] in ("load", "run_cell") else (whole[:cut], None), good
        )
        session = session_of(provider, "x = 1")
        assert fault_of(lambda session=session: Student(session, "a").x).reason == "crash"
        assert Student(session, "a").x == 7


@pytest.mark.parametrize(
    "answer",
    [
        {"ok": 1, "value": 7},
        {"ok": True},
        {"ok": False},
        {"ok": False, "error": {"kind": "exception", "type": 3, "message": "m"}},
        {"ok": False, "error": {"kind": "pass", "type": "T", "message": "m"}},
        {"id": None, "ok": True, "value": 7},
    ],
)
def test_an_answer_of_another_shape_is_tampering(answer):
    provider = ScriptedProvider(lambda r: good(r) if r["op"] in ("load", "run_cell") else answer, good)
    assert fault_of(lambda: Student(session_of(provider, "x = 1"), "a").x).reason == "tampered"


@pytest.mark.parametrize(
    "account",
    [
        7,
        {},
        {"status": "passed", "seconds": 0.0, "error": None, "notes": [], "stdout": ""},
        {"status": "ok", "seconds": "0", "error": {"type": 1}, "notes": [], "stdout": ""},
        {"status": "ok", "seconds": 0.0, "error": None, "notes": [], "stdout": 5},
        {"status": "ok", "seconds": 0.0, "error": None, "notes": [7], "stdout": ""},
        {"status": "ok", "seconds": 0.0, "error": None, "notes": None, "stdout": ""},
        {"status": "ok", "seconds": 0.0, "error": 7, "notes": [], "stdout": ""},
    ],
)
def test_a_forged_account_of_a_cell_costs_that_cell_and_the_rest_still_runs(account):
    def forging(request):
        forged = request["op"] == "run_cell" and request["index"] == 0
        return {"ok": True, "value": account} if forged else good(request)

    provider = ScriptedProvider(forging, good)
    session = session_of(provider, "x = 1", "y = 2")
    session.play()
    assert session.runs[0].status == "crash"
    assert [request.get("index") for request in provider.started[1].requests] == [None, 1, 2, 3]


def test_a_forged_account_cannot_swell_the_report_or_make_it_unreadable():
    long = "x" * 200_000
    forged = {
        "status": "error",
        "seconds": float("nan"),
        "error": {"type": "E", "message": long, "where": long},
        "notes": [long] * 4,
        "stdout": long,
    }
    provider = ScriptedProvider(lambda r: good(r) if r["op"] != "run_cell" else {"ok": True, "value": forged})
    session = session_of(provider, "x = 1")
    session.play()
    text = session.runs[0].model_dump_json()
    assert len(text) < 100_000
    assert 0 <= CellRun.model_validate_json(text).seconds < 5


def test_a_stalled_message_ends_with_the_check():
    provider = ScriptedProvider(lambda r: good(r) if r["op"] in ("load", "run_cell") else b"AGW1", good)
    session = session_of(provider, "x = 1")
    with session.check(0.3):
        assert fault_of(lambda: Student(session, "a").x).reason == "timeout"


# --- the machine


@pytest.mark.parametrize("error", [Infrastructure("no engine"), UserError("no image"), OSError(28, "No space left")])
def test_a_machine_without_sandboxes_is_infrastructure_and_is_asked_no_more(error):
    provider = FailingProvider(error)
    session = session_of(provider, "x = 1")
    for _ in range(3):
        with pytest.raises(Infrastructure):
            session.request("resolve", scope="a", name="x")
    assert provider.asked == ACQUIRE_ATTEMPTS


def test_one_failed_start_is_nobodys_fault(provider):
    flaky = FailingProvider(Infrastructure("busy"), times=1)
    assert Student(session_of(flaky, "x = 1"), "a").x == 1
    flaky.close()


def test_a_sandbox_that_dies_before_any_code_ran_is_infrastructure():
    session = session_of(ScriptedProvider(lambda r: None, lambda r: None), "x = 1")
    with pytest.raises(Infrastructure, match="loading the notebook ended the process"):
        session.play()
    assert Student(session_of(ScriptedProvider(lambda r: None, good), "x = 1"), "a").x == 7


def test_a_notebook_that_cannot_be_sent_is_a_sentence_said_once(provider):
    session = session_of(provider, "x = 1\n" + "#" * (2 << 20))
    faults = [fault_of(session.play) for _ in range(3)]
    assert {fault.reason for fault in faults} == {"output"}
    assert "could not be sent" in faults[0].message
    assert len(provider.started) == 1


def test_files_arrive_beside_the_notebook_and_versions_come_back(provider):
    session = Session(
        provider,
        cells("import helper\nempty = open('none.txt').read()"),
        {"helper.py": b"value = 5\n", "none.txt": b""},
        BUDGETS,
        seed=0,
    )
    student = Student(session, "a")
    assert student.helper.value == 5
    assert student.empty == ""
    assert session.versions["torch"] == torch.__version__


def test_closing_ends_the_sandbox_and_adds_up_what_was_used(provider):
    session = session_of(provider, "import os\ndef boom(): os._exit(0)")
    fault_of(Student(session, "a").boom)
    session.play()
    session.close()
    assert all(sandbox.killed for sandbox in provider.started)
    assert session.cpu_seconds == pytest.approx(0.5)
