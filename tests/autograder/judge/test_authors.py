"""Who pays for a check that breaks: its author, unless it runs through on the solution under the same seed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from autograder.authoring import audit as audit_module
from autograder.authoring.audit import run_audit
from autograder.judge import control
from autograder.judge import grade as module
from autograder.judge.grade import grade
from autograder.judge.job import Job, assignment_of
from autograder.judge.runner import verdict
from autograder.report import CheckResult, Report
from autograder.submission import Submission
from tests.autograder.course_factory import (
    ANSWERS,
    NAME,
    Repository,
    answered,
    make_repository,
    plant_variants,
    to_bytes,
)
from tests.autograder.judge.test_runner import check, run
from tests.autograder.providers import ForkProvider

IMPORT = "from autograder.checks import *\n\n\n"


@pytest.fixture
def provider(monkeypatch) -> Iterator[ForkProvider]:
    monkeypatch.setattr(control, "_runs_through", {})
    source = ForkProvider()
    monkeypatch.setattr(module, "provider_of", lambda *arguments: source)
    yield source
    source.close()


def graded(repository: Repository, answer: str | None = None, **options: object) -> Report:
    answers = ANSWERS if answer is None else ANSWERS | {"double-answer": answer}
    notebook = to_bytes(answered(repository.load().template, answers))
    return grade(Job(repository.files, Submission.of("ada", notebook), "process", **options))


def planted(folder: Path, body: str) -> Repository:
    """The small homework, its hidden check of `double` with another body, run once."""
    repository = make_repository(folder)
    path = repository.solutions / NAME / "checks.py"
    source = path.read_text()
    old = source.split('every shape."""\n')[1].split("\n\n\n")[0]
    source = source.replace(old, body).replace("import pytest\n", "import pytest\nfrom autograder.checks import *\n", 1)
    path.write_text(source.replace("[(), (2, 3), (64,)]", "[(3,)]"))
    return repository


def double(report: Report) -> CheckResult:
    return next(result for result in report.checks if result.id.startswith("test_double_of_noise"))


def test_an_authors_error_is_infrastructure_with_words_for_the_ta_only():
    from autograder.errors import AuthorError, AutograderError

    fault = AuthorError("enumeration needs between 1 and 20 binary entries, got 25")
    assert isinstance(fault, AutograderError)
    assert isinstance(fault, ValueError)
    said = verdict(fault)
    assert (said["outcome"], said.get("reason"), said["stumbled"]) == ("infrastructure", None, True)
    assert "25" not in said["message"]
    assert "got 25" in said["detail"]


VOCABULARY = {
    "enumerate": "enumerate_binary(25)",
    "order": "assert_causal(lambda x: x, (2, 5), order=[0, 1, 1, 2, 3])",
    "order's name": "assert_causal(lambda x: x, (2, 5), order='rastr')",
    "grid": "assert_causal(lambda x: x, (2, 5, 3, 4, 5))",
    "batch": "assert_batch_consistent(student.double, torch.zeros(1, 3))",
    "float64": "assert_gradient_matches_finite_differences(student.double, torch.zeros(2, 3))",
    "of or wrt": "assert_gradient_reaches(student.double, torch.zeros(3))",
    "level": "assert_samples_follow(torch.zeros(9, 1), torch.tensor([0.5, 0.5]), false_failure=1e-9)",
    "law": "assert_samples_follow(torch.zeros(9, 1), torch.tensor([0.5, 0.9]))",
    "line": "score_line(1.0, 2.0, 2.0)",
    "excess": "assert_excess(torch.ones(9), torch.ones(9), floor=0.1, target=0.5)",
    "probe": "student.probe('Nonesuch')",
    "probe's weights": "student.probe('TableConditional', torch.zeros(4))",
    "partial": "raise PartialCredit(1.0, 'whole')",
    "a function as argument": "student.double(lambda x: x)",
    "a module as argument": "student.double(torch.nn.Linear(1, 1))",
    "a set as argument": "student.double({1, 2})",
    "operation": "student.double._handle_channel.request('nonesuch')",
    "copied": "import copy; copy.copy(student.double)",
    "jacobian": "jacobian(student.double, torch.zeros(1, 5000))",
    "shape of what is expected": "assert_close(student.double(torch.ones(3)), torch.tensor(float('nan')).expand(3))",
}


@pytest.mark.parametrize("name", [name for name in VOCABULARY if name != "shape of what is expected"])
def test_a_misuse_of_the_vocabulary_costs_no_student_a_point(tmp_path, name):
    (result,) = run(tmp_path, IMPORT + check(VOCABULARY[name]), {"double": lambda x: 2 * x})
    assert (result.outcome, result.reason, result.stumbled) == ("infrastructure", None, True), result.message
    assert result.detail


def test_no_value_error_is_raised_by_hand_where_an_authors_error_is_meant():
    root = Path(module.__file__).parent.parent
    for folder in ("vocabulary", "student"):
        for path in (root / folder).rglob("*.py"):
            assert not re.search(r"raise (ValueError|TypeError|KeyError)\(", path.read_text()), path


TYPOS = {
    "a name": "assert torch.equal(answr, 2)",
    "a local name": "del x; x",
    "a name in a helper": "helper(); assert True",
    "a module": "from autograder.checks import assert_clos",
    "a module that is not there": "import nowhere_at_all",
}


@pytest.mark.parametrize("name", TYPOS)
def test_a_typo_in_a_check_is_always_the_authors(tmp_path, name):
    helper = "def helper():\n    return undefined_thing\n\n\n"
    body = TYPOS[name].replace("del x", "x = 1; del x")
    (result,) = run(tmp_path, IMPORT + helper + check(body), {"double": lambda x: 2 * x})
    assert (result.outcome, result.stumbled) == ("infrastructure", True)


def test_a_name_error_of_the_students_is_the_students(tmp_path):
    def boom() -> None:
        raise NameError("name 'x' is not defined")

    (result,) = run(tmp_path, check("student.boom()"), {"boom": boom})
    assert (result.outcome, result.reason, result.stumbled) == ("failed", "crash", False)


NONE = "def double(x):\n    return None\n"


def test_a_check_that_breaks_on_the_solution_too_is_the_authors(provider, tmp_path):
    repository = planted(tmp_path, "    answer = student.double(torch.ones(3))\n    [][answer.numel()]")
    report = graded(repository)
    result = double(report)
    assert (result.outcome, result.stumbled) == ("infrastructure", True)
    assert "IndexError" in (result.detail or "")
    assert "IndexError" not in result.message
    assert report.infrastructure


def test_a_check_that_runs_through_on_the_solution_is_the_students(provider, tmp_path):
    repository = planted(tmp_path, "    assert student.double(torch.ones(3)).shape == (3,)")
    result = double(graded(repository, NONE))
    assert (result.outcome, result.reason, result.stumbled) == ("failed", "wrong", True)
    assert "could not be used" in result.message
    assert [sandbox.killed for sandbox in provider.started] == [True, True]


def test_the_same_seed_decides(provider, tmp_path):
    """A check that breaks for some seeds is the author's under those."""
    body = "    n = int(torch.randint(2, (), generator=rng))\n    student.double(torch.ones(3))\n    [0][n]"
    repository = planted(tmp_path, body)
    outcomes = {double(graded(repository, salt=2**130 + n)).outcome for n in range(8)}
    assert outcomes == {"passed", "infrastructure"}


def test_the_control_is_run_once_for_a_check_and_a_seed(provider, tmp_path):
    repository = planted(tmp_path, "    assert student.double(torch.ones(3)).shape == (3,)")
    graded(repository, NONE)
    graded(repository, NONE)
    assert len(provider.started) == 3, "two submissions and one solution"
    path = repository.solutions / NAME / "checks.py"
    path.write_text(path.read_text() + "\n# other checks\n")
    assignment_of.cache_clear()
    graded(repository, NONE)
    assert len(provider.started) == 5


def test_where_nothing_stumbles_no_control_is_run(provider, tmp_path):
    report = graded(make_repository(tmp_path), "def double(x):\n    return 3 * x\n")
    assert len(provider.started) == 1
    assert not any(check.stumbled for check in report.checks)


def test_a_clean_audit_counts_as_control(provider, tmp_path, monkeypatch):
    monkeypatch.setattr(audit_module, "run_jobs", lambda jobs, workers, work: ((job, work(job)) for job in jobs))
    monkeypatch.setattr(audit_module, "sweep", lambda: [])
    repository = planted(tmp_path, "    answer = student.double(torch.ones(3))\n    assert answer.sum() == 6")
    plant_variants(repository)
    assert run_audit(repository.files, seeds=1, sandbox="process").findings == []
    provider.started.clear()
    assert double(graded(repository, NONE)).outcome == "failed"
    assert len(provider.started) == 1
    solution = repository.solutions / NAME / f"{NAME}.py"
    solution.write_text(solution.read_text() + "\n# %%\n1 + 1\n")
    graded(repository, NONE)
    assert len(provider.started) == 3, "another solution is not the audited one"


def test_without_a_solution_a_stumble_stays_the_students(tmp_path):
    """On a student's own machine there is none."""
    (result,) = run(tmp_path, check("student.double(1).shape"), {"double": lambda x: None})
    assert (result.outcome, result.reason, result.stumbled) == ("failed", "wrong", True)


def test_a_jacobian_is_capped_per_sample(tmp_path):
    from autograder.errors import AuthorError
    from autograder.student import jacobian, jacobian_blocks
    from autograder.student.local import as_handle

    x = torch.randn(3, 2000, dtype=torch.float64)
    scale = as_handle(lambda x: 2 * x[:, :2])
    found = jacobian_blocks(scale, x)
    assert found.shape == (3, 2, 2000)
    expected = torch.zeros(3, 2, 2000, dtype=torch.float64)
    expected[:, 0, 0] = expected[:, 1, 1] = 2
    assert torch.equal(found, expected)
    with pytest.raises(AuthorError, match="4096"):
        jacobian(scale, x)


def test_the_local_channel_refuses_what_a_sandbox_refuses():
    from autograder.errors import AuthorError
    from autograder.student import Student, call
    from autograder.student.local import LocalChannel

    student = Student(LocalChannel({"it": lambda x: x}))
    for thing in (lambda x: x, torch.nn.Linear(1, 1), {1, 2}, object()):
        with pytest.raises(AuthorError, match="data and handles"):
            student.it(thing)
        with pytest.raises(AuthorError, match="data and handles"):
            call(student.it, [thing])
    assert call(lambda layer: layer.in_features, torch.nn.Linear(2, 1)) == 2, "plain callables take anything"
    assert call(lambda f: f(2), lambda x: 3 * x) == 6
