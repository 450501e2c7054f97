"""What comes back from a sandbox is bounded before anything is made of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from autograder.errors import StudentFault, UserError
from autograder.homework.assignment import load_assignment
from autograder.homework.settings import Budgets
from autograder.judge.session import Session
from autograder.student import Student
from autograder.worker.wire import PREFIX
from tests.autograder.course_factory import make_repository
from tests.autograder.judge.test_runner import check, run
from tests.autograder.judge.test_session import fault_of, session_of
from tests.autograder.operations import Arithmetic
from tests.autograder.providers import ForkProvider, ScriptedProvider, cells, good
from tests.autograder.vocabulary.test_hostile_rest import REST
from tests.autograder.vocabulary.test_hostile_values import ON_FUNCTIONS, ON_VALUES
from tests.autograder.vocabulary.test_hostile_words import WORDS

NOTEBOOK = """
import torch
def megabytes(n): return torch.zeros(n << 18)
def numbers(n): return [0.5] * n
def bits(n): return torch.zeros(n, dtype=torch.bool)
"""


@pytest.fixture
def provider() -> Iterator[ForkProvider]:
    source = ForkProvider()
    yield source
    source.close()


@pytest.fixture
def session(provider: ForkProvider) -> Session:
    return session_of(provider, NOTEBOOK)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda student: student.megabytes(250), "250 MB"),
        (lambda student: student.numbers(190_000), "MB"),
        (lambda student: student.bits(16 << 20), "MB"),  # a number a bit, when it comes to arithmetic
    ],
    ids=["a tensor", "a list", "bits"],
)
def test_an_honest_worker_says_how_much_it_would_have_returned_and_lives(provider, session, ask, said):
    with session.check():
        fault = fault_of(ask, Student(session, "a"))
    assert fault.reason == "output"
    assert said in fault.message
    assert "at most 16 MB" in fault.message
    with session.check():
        assert Student(session, "a").megabytes(15).shape == (15 << 18,)
        assert len(Student(session, "a").numbers(50_000)) == 50_000
    assert len(provider.started) == 1


def test_a_check_takes_64_megabytes_in_all(provider, session):
    with session.check():
        student = Student(session, "a")
        taken = [student.megabytes(15) for _ in range(4)]
        fault = fault_of(student.megabytes, 15)
    assert len(taken) == 4
    assert fault.reason == "output"
    with session.check():
        assert Student(session, "a").megabytes(15).numel() == 15 << 18
    assert len(provider.started) == 1


def test_a_marker_raises_the_cap(tmp_path, session):
    body = "assert student.megabytes({}).numel() > 0"
    marked = check(body.format(100), '"a", points=1, reply_mb=120', "test_large")
    (large, usual) = run(tmp_path, marked + check(body.format(100), '"a", points=1'), channel=session)
    assert large.outcome == "passed"
    assert (usual.outcome, usual.reason) == ("failed", "output")


def test_the_marker_is_read_and_refused_like_the_others(tmp_path):
    repository = make_repository(tmp_path)
    hidden = repository.solutions / "hw0" / "checks.py"
    hidden.write_text(hidden.read_text().replace("seconds=20", "seconds=20, reply_mb=40"))
    assert {c.reply_mb for c in load_assignment(repository.files).checks} == {None, 40}
    hidden.write_text(hidden.read_text().replace("reply_mb=40", "reply_mb=0"))
    with pytest.raises(UserError, match="reply_mb"):
        load_assignment(repository.files)


@pytest.mark.parametrize("sizes", [(10, 17 << 20), (10, 1 << 40), (64 << 20, 0)])
def test_a_frame_above_the_cap_is_output_and_nothing_of_it_is_read(sizes):
    frame = PREFIX.pack(b"AGW1", *sizes)
    liar = ScriptedProvider(lambda r: frame if r["op"] == "resolve" else good(r))
    session = Session(liar, cells("x = 1"), {}, Budgets(cell_seconds=5, check_seconds=5, submission_seconds=30), seed=0)
    with session.check():
        fault = fault_of(lambda: Student(session, "a").x)
    assert fault.reason == "output"


# --- shape and count before arithmetic

N = 1 << 20
ASKED = {  # assertions that know how many numbers should come
    *("assert_shape", "assert_close", "assert_close vector", "assert_close scalar", "assert_close integers"),
    *("assert_close infinite", "assert_causal", "assert_depends", "assert_receptive_field", "assert_normalised"),
    *("assert_log_prob", "assert_log_prob of logits", "log_likelihood", "sequential", "draw_twice", "conditionals"),
    *("assert_batch_consistent", "assert_gradient_equals", "assert_finite_differences", "assert_excess"),
    *("assert_trains", "draw_twice of any shape", "assert_same_law", "assert_diverse", "assert_not_memorised"),
    *("assert_modes_covered", "assert_samples_follow", "assert_samples_follow_conditionals"),
}
LARGE: dict[str, Callable[[], Any]] = {
    "a vector": lambda: torch.zeros(N),
    "rows": lambda: torch.zeros(N // 4, 1, 2, 2),
    "features": lambda: torch.zeros(6, N // 24, 2, 2),
    "a square": lambda: torch.zeros(1 << 10, 1 << 10),
    "bits": lambda: torch.ones(N, dtype=torch.bool),
    "parts": lambda: [torch.zeros(6)] * 4000,
    "numbers": lambda: [0.5] * 60_000,
}
TAKES = {  # what has as many samples as it likes, up to a cap
    ("assert_shape", "rows"),
    ("assert_samples_follow", "rows"),
    ("assert_excess", "a vector"),
    ("assert_excess", "bits"),
    ("draw_twice of any shape", "features"),
    *(("assert_samples_follow_conditionals", kind) for kind in ("rows", "features", "a square")),
}


MANY_CALLS = {  # what looks at each part of a list; a check takes 64 MB of parts at most
    *(("noise", "parts"), ("increasing", "numbers"), ("no graph of a module", "parts")),
}
MUCH = {("map", "features")}  # fifty answers of this size, of which a check takes sixteen


def test_no_assertion_computes_with_what_has_another_shape_or_count_than_it_asks_for():
    late = []
    for name, assertion in {**ON_VALUES, **ON_FUNCTIONS, **WORDS, **REST}.items():
        for kind, make in LARGE.items():
            value = make()
            with Arithmetic() as done, contextlib.suppress(StudentFault):
                assertion(lambda *_, value=value: value) if name in ON_FUNCTIONS else assertion(value)
            most = N // 2 if name in ASKED and (name, kind) not in TAKES else 48 * N
            most = 300 * N if (name, kind) in MUCH else most
            if done.numbers > most or done.calls > (130_000 if (name, kind) in MANY_CALLS else 2000):
                late.append((name, kind, done.numbers / N, done.calls))
    assert late == []
