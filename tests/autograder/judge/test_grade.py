"""Grading one submission: exact points, the same ones every time, and nothing lost to the machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from fractions import Fraction

import pytest

from autograder.errors import Infrastructure, UserError
from autograder.judge import grade as module
from autograder.judge import runner
from autograder.judge.basis import basis_of
from autograder.judge.grade import WALL_TIME, complete, grade, grade_repeatedly, score
from autograder.judge.job import Again, Job
from autograder.report import CheckResult, Report
from autograder.sandbox import Reading
from autograder.submission import Submission
from tests.autograder.course_factory import NAME, Repository, answered, make_repository, to_bytes
from tests.autograder.providers import FailingProvider, FakeProvider, ForkedSandbox, ForkProvider


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Repository:
    return make_repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture
def provider(monkeypatch) -> Iterator[ForkProvider]:
    source = ForkProvider()
    use(monkeypatch, source)
    yield source
    source.close()


def use(monkeypatch, provider: FakeProvider) -> None:
    monkeypatch.setattr(module, "provider_of", lambda *arguments: provider)


def job_of(repository: Repository, answers: dict[str, str] | None = None, **options: object) -> Job:
    notebook = to_bytes(answered(repository.load().template, answers))
    return Job(repository.files, Submission.of("ada", notebook), "process", **options)


def earned(report: Report) -> dict[str, float | None]:
    return {cell.cell: cell.earned for cell in report.cells}


def stable(report: Report) -> dict[str, object]:
    """A report without what a clock says."""
    document = report.model_dump(exclude={"started", "timings"})
    for part in [*document["checks"], *document["runs"]]:
        part.pop("seconds")
    return document


def result(name: str, fraction: float, points: float = 1.0, cell: str = "double") -> CheckResult:
    outcome = {0.0: "failed", 1.0: "passed"}.get(fraction, "partial")
    reason = None if outcome == "passed" else "wrong"
    return CheckResult(
        id=name, cell=cell, title=name, public=True, points=points, fraction=fraction, outcome=outcome, reason=reason
    )


def test_right_answers_earn_every_automatic_point_and_a_manual_cell_waits(provider, repository):
    report = grade(job_of(repository))
    assert earned(report) == {"double": 2.0, "line": 1.0, "why": None}
    assert (report.earned, report.automatic_points) == (3.0, 3.0)
    assert [check.outcome for check in report.checks] == ["passed"] * 6
    assert not report.infrastructure


def test_the_blank_template_earns_nothing_and_says_what_is_missing(provider, repository):
    report = grade(job_of(repository, {}))
    assert earned(report) == {"double": 0.0, "line": 0.0, "why": None}
    assert {check.outcome for check in report.checks} == {"failed"}
    assert {check.reason for check in report.checks} <= {"missing", "crash"}


def test_a_submission_loses_exactly_the_points_of_the_checks_it_fails(provider, repository):
    wrong = {"double-answer": "import torch\ndef double(x):\n    return 2 * x if x.dim() < 2 else x\n"}
    answers = {"line-answer": "import os\nos._exit(0)\n"} | wrong
    report = grade(job_of(repository, answers))
    assert earned(report) == {"double": 1.5, "line": 0.0, "why": None}  # by hand: 0.5 + two of three times 0.5
    assert [c.reason for c in report.checks if c.cell == "line"] == ["crash", "crash"]


@pytest.mark.parametrize(
    ("parts", "points", "want"),
    [
        ([(1 / 3, 1.0)] * 3, 1.0, 1.0),  # shares of a parametrised check are not exact, their sum is
        ([(1 / 3, 1.0), (1 / 3, 1.0), (1 / 3, 0.0)], 1.0, 0.67),
        ([(0.1, 1.0), (0.2, 1.0), (1.7, 0.0)], 2.0, 0.3),  # 0.1 + 0.2 as written, not as binary fractions
        ([(0.01, 0.5), (1.99, 0.0)], 2.0, 0.01),  # half a hundredth goes up
        ([(0.01, 0.499), (1.99, 0.0)], 2.0, 0.0),
        ([(2.0, 1 / 3)], 2.0, 0.67),
        ([(0.125, 1.0)], 0.125, 0.125),  # whole is whole, whatever the rounding
        ([(0.125, 0.999)], 0.125, 0.12),
        ([(0.005, 0.999)], 0.005, 0.0),
        ([(0.006, 0.999)], 0.006, 0.006),  # rounded up, and never above the cell
        ([(2.0, 0.0)], 2.0, 0.0),
    ],
)
def test_points_are_exact_sums_rounded_half_up_to_a_hundredth(repository, parts, points, want):
    assignment = repository.load()
    cell = dataclasses.replace(assignment.cells["double"], points=points)
    assignment = dataclasses.replace(assignment, cells={"double": cell})
    results = [result(f"test_{n}", fraction, share) for n, (share, fraction) in enumerate(parts)]
    (cell_result,) = score(assignment, results)
    assert cell_result.earned == want
    assert Fraction(str(cell_result.earned)) <= Fraction(str(points))


def test_a_check_that_left_no_result_is_the_machines_failure(repository):
    assignment = repository.load()
    results = [result("test_double_of_one_is_two", 1.0, 0.5), result("test_double_of_noise[shape0]", 1.0, 0.5)]
    whole = complete(assignment, results)
    silent = {r.id: r.points for r in whole if r.outcome == "infrastructure"}
    assert silent == {"test_double_of_noise": 1.0, "test_line_is_zero_at_zero": 0.4, "test_trained_slope_is_three": 0.6}
    assert [cell.earned for cell in score(assignment, whole)] == [None, None, None]


def test_shares_that_are_no_exact_numbers_do_not_count_as_silence(repository):
    assignment = repository.load()
    done = [result(f"test_double_of_noise[{n}]", 1.0, 1.5 / 7) for n in range(7)]
    done += [result("test_double_of_one_is_two", 1.0, 0.5)]
    assert {r.cell for r in complete(assignment, done) if r.outcome == "infrastructure"} == {"line"}


@pytest.mark.parametrize(
    "body",
    [
        "pytest.exit('enough')",
        "raise KeyboardInterrupt",
        "from autograder.errors import Infrastructure; raise Infrastructure('the engine is gone')",
        "from autograder.errors import UserError; raise UserError('the image is gone')",
        "open('/nowhere/at/all')",
        "raise OSError(28, 'No space left on device')",
    ],
)
def test_a_check_that_the_machine_ends_costs_no_points(provider, tmp_path, body):
    repository = make_repository(tmp_path)
    path = repository.solutions / NAME / "checks.py"
    source = path.read_text()
    assert source.count("    slope =") == 1
    path.write_text(source.replace("    slope =", f"    {body}\n    slope ="))
    report = grade(job_of(repository))
    assert earned(report) == {"double": 2.0, "line": None, "why": None}
    assert report.infrastructure


@pytest.mark.parametrize("error", [Infrastructure("no engine"), UserError("no image"), OSError(28, "No space left")])
def test_without_a_sandbox_every_check_is_infrastructure_and_no_cell_has_points(monkeypatch, repository, error):
    use(monkeypatch, FailingProvider(error))
    report = grade(job_of(repository))
    assert {check.outcome for check in report.checks} == {"infrastructure"}
    assert earned(report) == {"double": None, "line": None, "why": None}
    assert report.infrastructure


def test_a_machine_that_fails_in_the_middle_keeps_what_is_done_and_takes_nothing(monkeypatch, repository):
    class OneSandbox(ForkProvider):
        def _start(self):
            if self.started:
                raise Infrastructure("the engine stopped answering")
            return super()._start()

    provider = OneSandbox()
    use(monkeypatch, provider)
    answers = {"double-answer": "import os\ndef double(x):\n    return 2 * x if x.shape else os._exit(0)\n"}
    report = grade(job_of(repository, answers))
    assert {check.id: check.outcome for check in report.checks if check.cell == "double"} == {
        "test_double_of_one_is_two": "passed",
        "test_double_of_noise[shape0]": "failed",
        "test_double_of_noise[shape1]": "infrastructure",
        "test_double_of_noise[shape2]": "infrastructure",
    }
    assert earned(report)["double"] is None


def test_the_same_submission_gets_the_same_report_but_for_the_clock(provider, repository):
    noisy = {"double-answer": "import torch\ndef double(x):\n    return 2 * x + 1e-3 * torch.randn_like(x)\n"}
    first, second = (grade(job_of(repository, noisy)) for _ in range(2))
    assert stable(first) == stable(second)
    assert stable(grade(job_of(repository, noisy, salt=1)))["environment"] != stable(first)["environment"]


def test_a_report_holds_what_is_needed_to_repeat_it(provider, repository):
    basis = basis_of(repository.load(), {"python": "3"})
    job = job_of(repository, basis=basis)
    report = grade(job)
    assert Report.model_validate_json(report.model_dump_json()) == report
    assert report.submission_sha256 == job.submission.sha256
    assert report.basis == basis.whole
    assert [check.basis for check in report.checks] == [basis.of(check.id.partition("[")[0]) for check in report.checks]
    assert all(check.basis for check in report.checks)
    assert {"python", "torch", "numpy", "autograder"} <= report.environment.versions.keys()
    assert report.environment.limits["submission_seconds"] == 60
    assert report.environment.seed == module.keys_of(job, job.submission.sha256).number
    assert set(report.timings) >= {"notebook", "checks", "total"}


SHAKY = {
    "double-answer": "state = []\ndef double(x):\n    state.append(x)\n    return x * (2 if x.ndim < 2 else 3)\n",
    "line-answer": "class Line:\n    pass\n",
}


@pytest.mark.parametrize("answers", [None, SHAKY, {}], ids=["right", "shaky", "blank"])
def test_a_check_finds_the_same_alone_reversed_and_in_order(provider, repository, monkeypatch, tmp_path, answers):
    def outcomes(report: Report) -> dict[str, tuple[object, ...]]:
        return {c.id: (c.outcome, c.fraction, c.reason, c.message, c.hint, c.where) for c in report.checks}

    whole = grade(job_of(repository, answers))
    path = tmp_path / "report.json"
    whole.save(path)
    for check in repository.load().checks:
        alone = grade(job_of(repository, answers, again=Again(path, frozenset({check.name}))))
        assert outcomes(alone) == outcomes(whole)
        assert [result.id for result in alone.checks] == [result.id for result in whole.checks]
        assert alone.marks == whole.marks
    chosen = runner._Plugin.pytest_collection_modifyitems

    def reversed_items(self, items):
        chosen(self, items)
        items.reverse()

    monkeypatch.setattr(runner._Plugin, "pytest_collection_modifyitems", reversed_items)
    assert outcomes(grade(job_of(repository, answers))) == outcomes(whole)


def test_seeds_share_one_run_of_the_notebook_and_no_time(provider, repository):
    reports = grade_repeatedly(job_of(repository), [1, 2, 3])
    assert [report.environment.seed for report in reports] == [1, 2, 3]
    assert len(provider.started) == 1
    before = [report.timings["total"] - report.timings["checks"] for report in reports]
    assert before == pytest.approx([before[0]] * 3)


def test_a_report_says_where_time_limits_counted_the_time_on_the_clock(provider, repository, monkeypatch):
    told = grade(job_of(repository))
    assert (told.environment.clock, WALL_TIME in told.notes) == ("charged", False)
    assert 0 < told.timings["charged"] < told.timings["total"]
    monkeypatch.setattr(ForkedSandbox, "reading", lambda sandbox: Reading())
    blind = grade(job_of(repository))
    assert (blind.environment.clock, WALL_TIME in blind.notes) == ("wall", True)
    assert earned(blind) == earned(told)


def test_the_sandbox_is_ended_whatever_happens(provider, repository, tmp_path):
    grade(job_of(repository))
    broken = make_repository(tmp_path)
    (broken.solutions / NAME / "checks.py").write_text(
        (broken.solutions / NAME / "checks.py").read_text().replace("import torch\n", "import torch, nowhere_at_all\n")
    )
    with pytest.raises(UserError, match="nowhere_at_all"):
        grade(job_of(broken))
    assert len(provider.started) == 2
    assert all(sandbox.killed for sandbox in provider.started)
