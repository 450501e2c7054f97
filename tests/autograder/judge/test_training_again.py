"""A check trains in the sandbox: under the training budget, after all checks that train nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from autograder.checks import call, run_fit, train_network
from autograder.errors import StudentFault
from autograder.homework.settings import Budgets
from autograder.judge.keys import Keys
from autograder.judge.runner import Bench, CheckFile, run_checks
from autograder.judge.session import Session
from autograder.student import Student
from tests.autograder.providers import ForkProvider, cells

SOURCE = """
import time
import torch
from torch import nn

trained = []

def spin(seconds):
    begin = time.process_time()
    while time.process_time() < begin + seconds:
        pass

def fit(net, x, seconds):
    trained.append(net)
    spin(seconds)
    return [0.0]

def endless(net, x):
    while True:
        net(x)

class Slow(nn.Linear):
    def forward(self, x):
        spin(0.1)
        return super().forward(x)
"""
BUDGETS = Budgets(cell_seconds=20, check_seconds=1, train_seconds=2, submission_seconds=60)


@pytest.fixture
def session() -> Iterator[Session]:
    source = ForkProvider()
    played = Session(source, cells((SOURCE,), ("trained.append('cell')", "train", "train:a")), {}, BUDGETS, 0)
    yield played
    played.close()
    source.close()


def test_training_again_is_charged_to_the_training_budget_and_not_to_the_check_s(session: Session) -> None:
    student, x = Student(session, "a"), torch.ones(2, 2)
    with session.check():
        assert run_fit(student.fit, student.Slow(2, 1), x, 1.2) == [0.0]
        assert len(train_network(student.Slow(2, 1), [x], torch.ones(2, 1), steps=3)) == 3
        assert call(student.Slow(2, 1), x).shape == (2, 1)
        assert session.clock._training.used > 1.2 > session.clock._check.seconds


@pytest.mark.parametrize("name", ["endless", "fit"])
def test_all_that_a_check_trains_has_one_budget(session: Session, name: str) -> None:
    student, x = Student(session, "a"), torch.ones(2, 2)
    arguments = [0.9] if name == "fit" else []

    def thrice() -> None:
        for _ in range(3):  # the last does not fit any more
            run_fit(student.get(name), student.Slow(2, 1), x, *arguments)

    with session.check(), pytest.raises(StudentFault, match="training in this check did not end in time") as caught:
        thrice()
    assert caught.value.reason == "timeout"
    with session.check():  # the next check has its own
        assert run_fit(student.fit, student.Slow(2, 1), x, 0.1) == [0.0]


def test_what_is_too_large_to_send_is_refused_before_anything_runs(session: Session) -> None:
    student = Student(session, "a")
    with pytest.raises(StudentFault, match="training in this check could not be sent to your code"), session.check():
        run_fit(student.fit, student.Slow(2, 1), torch.zeros(1, dtype=torch.uint8).expand((256 << 20) + 1), 0.0)
    assert call(student.Slow(2, 1), torch.ones(2, 2)).shape == (2, 1)


CHECKS = '''
from autograder.checks import call, graded, run_fit


@graded("a", points=1, trains="a")
def test_trains(student):
    """It trains."""
    student.trained("a")
    assert student.trained("a").seen == ["cell"]


@graded("a", points=1)
def test_fresh(student):
    """Nothing has been trained."""
    assert student.ones() == 0


@graded("a", points=1, trains="a")
def test_again(student):
    """It trains again."""
    run_fit(student.fit, 1)
    assert student.ones() == 2


@graded("a", points=1)
def test_fresh_too(student):
    """Nothing has been trained here either."""
    assert student.ones() == 0
'''


def test_checks_that_train_nothing_run_before_anything_is_trained_and_results_keep_their_order(tmp_path: Path) -> None:
    source = ForkProvider()
    code = "seen = []\ndef fit(n): seen.append(n)\ndef ones(): return len(seen)"
    notebook = cells(code, ("seen.append('cell')", "train", "train:a"))
    session = Session(source, notebook, {}, BUDGETS, 0)
    (tmp_path / "checks.py").write_text(CHECKS)
    try:
        results = run_checks([CheckFile(tmp_path / "checks.py", public=True)], Bench(session, Keys.local(0)))
    finally:
        session.close()
        source.close()
    assert [(result.id, result.outcome) for result in results] == [
        (name, "passed") for name in ("test_trains", "test_fresh", "test_again", "test_fresh_too")
    ], [result.message for result in results]
