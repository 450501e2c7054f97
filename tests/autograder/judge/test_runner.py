"""Checks run with pytest: one outcome with one reason per check, and nothing of a student's folder is collected."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from autograder.errors import Infrastructure, PartialCredit, StudentFault, UserError, Wrong
from autograder.judge.keys import Keys
from autograder.judge.runner import Bench, CheckFile, run_checks, verdict
from autograder.report import CheckResult
from autograder.student.local import LocalChannel

HEADER = "import pytest\nimport torch\nfrom autograder.errors import *\n\n\n"


def run(folder: Path, source: str, namespace: dict[str, object] | None = None, **bench: object) -> list[CheckResult]:
    path = folder / "checks.py"
    path.write_text(HEADER + source)
    channel = bench.pop("channel", None) or LocalChannel(namespace or {})
    keys = Keys.local(bench.pop("seed", 7))
    return run_checks([CheckFile(path, public=True)], Bench(channel, keys, **bench))


def check(body: str, marker: str = '"cell", points=1', name: str = "test_it", arguments: str = "student") -> str:
    return f'@pytest.mark.graded({marker})\ndef {name}({arguments}):\n    """What holds."""\n    {body}\n\n\n'


@pytest.mark.parametrize(
    ("body", "outcome", "reason", "message"),
    [
        ("pass", "passed", None, ""),
        ("assert 1 == 2", "failed", "wrong", "the property does not hold"),
        ("assert 1 == 2, 'one is not two'", "failed", "wrong", "one is not two"),
        ("student.nowhere", "failed", "missing", "nowhere"),
        ("raise PartialCredit(0.25, 'a quarter')", "partial", "wrong", "a quarter"),
        ("raise Infrastructure('the engine is gone')", "infrastructure", None, "the engine is gone"),
        ("raise UserError('no image')", "infrastructure", None, "no image"),
        ("open('/nowhere')", "infrastructure", None, "No such file"),
        ("raise StudentFault('too slow', reason='timeout')", "failed", "timeout", "too slow"),
        ("student.boom()", "failed", "crash", "ZeroDivisionError"),
        ("None.shape", "failed", "wrong", "could not be used"),
        ("raise SystemExit", "failed", "wrong", "could not be used"),
        ("pytest.skip('no')", "failed", "wrong", "could not be used"),
    ],
)
def test_every_end_of_a_check_is_one_outcome_with_one_reason(tmp_path, body, outcome, reason, message):
    (result,) = run(tmp_path, check(body), {"boom": lambda: 1 / 0})
    assert (result.outcome, result.reason) == (outcome, reason)
    assert message in result.message
    assert result.title == "What holds."
    assert result.fraction == {"passed": 1.0, "partial": 0.25}.get(outcome, 0.0)


def test_the_values_of_a_failed_assertion_are_for_the_ta_only(tmp_path):
    (result,) = run(tmp_path, check("secret = 4321; assert secret == 1"))
    assert "4321" not in result.message
    assert "4321" in (result.detail or "")


def test_one_failing_check_does_not_stop_the_next(tmp_path):
    results = run(tmp_path, check("assert False", name="test_a") + check("pass", name="test_b"))
    assert [r.outcome for r in results] == ["failed", "passed"]


def test_a_parametrised_check_splits_its_points(tmp_path):
    header = '@pytest.mark.parametrize("n", [1, 2, 3, 4])\n'
    source = header + check("assert n < 4", arguments="n", marker='"c", points=1')
    results = run(tmp_path, source)
    assert [r.points for r in results] == [0.25] * 4
    assert [r.outcome for r in results] == ["passed"] * 3 + ["failed"]


def test_points_and_seconds_may_be_given_by_position(tmp_path):
    asked: list[float | None] = []

    class Clocked(LocalChannel):
        def check(self, seconds: float | None = None, reply_mb: float | None = None):
            asked.append(seconds)
            return nullcontext()

    (result,) = run(tmp_path, check("pass", '"one", 0.5, 3'), channel=Clocked({}))
    assert (result.cell, result.points, asked) == ("one", 0.5, [3])
    (tmp_path / "named").mkdir()  # a judge imports a file of checks once
    (result,) = run(tmp_path / "named", check("pass", 'cell="two", points=0.25'))
    assert (result.cell, result.points) == ("two", 0.25)


def test_no_time_is_spent_on_the_difference_of_two_long_texts(tmp_path, monkeypatch):
    monkeypatch.setenv("CI", "true")  # where pytest cuts nothing
    text = "\n".join("x" * 100 + str(number) for number in range(3000))
    body = "assert student.text() == '\\n'.join('x' * 100 + str(n + 10**6) for n in range(3000))"
    begin = time.process_time()
    (result,) = run(tmp_path, check(body), {"text": lambda: text})
    assert result.outcome == "failed"
    assert "xxx" in (result.detail or "")
    assert time.process_time() - begin < 3  # of CPU time; the difference takes hours


def test_a_message_of_a_megabyte_is_cut(tmp_path):
    (result,) = run(tmp_path, check("assert False, student.text()"), {"text": lambda: "y" * 900_000})
    assert 100 < len(result.message) <= 2000
    assert len(result.detail or "") <= 8000


def test_no_time_is_spent_on_tracebacks_that_nobody_prints(tmp_path, monkeypatch):
    monkeypatch.setattr(pytest.Function, "repr_failure", lambda *arguments: pytest.exit("a traceback is formatted"))
    (result,) = run(tmp_path, check("assert False"))
    assert result.outcome == "failed"


def test_only_the_asked_cell_runs(tmp_path):
    source = check("pass", '"one", points=1', "test_a") + check("pass", '"two", points=1', "test_b")
    assert [r.cell for r in run(tmp_path, source, only=frozenset({"two"}))] == ["two"]


def test_the_seed_differs_between_checks_and_runs_but_not_within_one(tmp_path):
    namespace: dict[str, object] = {"seen": []}
    body = "student.seen.append(int(torch.randint(2**40, (), generator=rng)))"
    source = check(body, name="test_a", arguments="student, rng") + check(body, name="test_b", arguments="student, rng")
    seen: list[int] = []
    namespace["note"] = lambda value: seen.append(value)
    source = source.replace("student.seen.append", "student.note")
    for seed in (1, 1, 2):
        run(tmp_path, source, namespace, seed=seed)
    assert seen[:2] == seen[2:4]
    assert len(set(seen)) == 4


def test_pictures_belong_to_the_check_that_drew_them(tmp_path):
    source = check("figures.images('a', {'x': torch.zeros(2, 4, 4)})", name="test_a", arguments="figures")
    first, second = run(tmp_path, source + check("pass", name="test_b"))
    assert [f.title for f in first.figures] == ["a"]
    assert second.figures == []


def test_a_check_file_that_does_not_import_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"checks\.py can not be collected.*nowhere_at_all"):
        run(tmp_path, "import nowhere_at_all\n" + check("pass"))


def test_a_test_without_points_is_refused(tmp_path):
    with pytest.raises(UserError, match="no `graded` marker"):
        run(tmp_path, check("pass") + "def test_stray():\n    pass\n")


def test_no_conftest_and_no_plugin_of_a_folder_is_loaded(tmp_path, monkeypatch):
    (tmp_path / "conftest.py").write_text("raise RuntimeError('collected')")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    assert [r.outcome for r in run(tmp_path, check("pass"))] == ["passed"]


@pytest.mark.parametrize(
    "fault", [Wrong("w"), PartialCredit(0.5, "p"), Infrastructure("i"), KeyError("k"), SystemExit(0)]
)
def test_no_exception_is_a_pass(fault):
    assert verdict(fault)["outcome"] != "passed"
    assert verdict(fault)["fraction"] < 1


def test_an_escape_from_partial_credit_to_full_marks_is_refused():
    for fraction in (0.0, 1.0, 2.0, float("nan")):
        with pytest.raises(ValueError, match="strictly between"):
            PartialCredit(fraction, "x")


def test_a_fault_keeps_hint_and_place():
    given = verdict(StudentFault("m", reason="crash", hint="h", where="cell 2, line 1: x", detail="d"))
    assert (given["hint"], given["where"], given["detail"]) == ("h", "cell 2, line 1: x", "d")


def test_what_a_check_draws_without_a_generator_is_the_same_in_every_run_and_leaves_no_trace(tmp_path):
    source = check("assert False, f'{float(torch.rand(())):.9f}'") + check(
        "raise Wrong(str(rng.initial_seed()))", name="test_two", arguments="rng"
    )
    torch.manual_seed(1)
    expected = torch.rand(3)
    messages = []
    for spoil in (2, 3):
        folder = tmp_path / str(spoil)
        folder.mkdir()
        torch.manual_seed(spoil)
        messages.append([result.message for result in run(folder, source)])
        torch.manual_seed(1)
        run(folder, source)
        assert torch.equal(torch.rand(3), expected)
    assert messages[0] == messages[1]
