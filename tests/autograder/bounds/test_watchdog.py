"""The judge's own time and memory in a check are bounded; what is lost is that check, and the TA reads which."""

from __future__ import annotations

import resource
from collections.abc import Callable

import pytest

from autograder.grading.executor import Trouble, run_jobs
from autograder.grading.local import Local
from autograder.judge.job import Job
from autograder.report import Report
from autograder.submission import Submission
from tests.autograder import at_work
from tests.autograder.course_factory import answered, make_repository, to_bytes

SLOW = {
    "many steps": "while True: pass",
    "one step": "sum(range(10**13))",
    "memory": "kept = [torch.zeros(1 << 24).fill_(i) for i in range(1000)]",
    "one allocation": "torch.zeros(1 << 40)",
}


@pytest.fixture
def job(tmp_path) -> Callable[[str, str], Job]:
    """A right submission, and a homework one of whose hidden checks does this in the judge."""

    def made(student: str, body: str) -> Job:
        repository = make_repository(tmp_path / student)
        hidden = repository.solutions / "hw0" / "checks.py"
        marked = '\n\n@pytest.mark.graded("double", points=0.5)\ndef test_endless(student):\n    """Never ends."""\n'
        hidden.write_text(hidden.read_text().replace("points=1.5", "points=1.0") + f"{marked}    {body}\n")
        submission = Submission.of(student, to_bytes(answered(repository.load().template)))
        return Job(repository.files, submission, "process")

    return made


def graded(*jobs: Job) -> dict[str, Report | Trouble]:
    return {job.submission.student: result for job, result in run_jobs(jobs, Local(1), at_work.impatient)}


@pytest.mark.parametrize("kind", SLOW)
def test_a_check_that_costs_the_judge_too_much_is_named_and_the_others_are_kept(job, kind):
    found = graded(job("ada", SLOW[kind]), job("bob", "pass"))
    report = found["ada"]
    assert isinstance(report, Report)
    outcomes = {check.id: check.outcome for check in report.checks}
    assert outcomes.pop("test_endless") == "infrastructure"
    last = outcomes.pop("test_trained_slope_is_three")  # trained checks run last, and none after two deaths of a judge
    assert last == "passed" or kind not in ("many steps", "memory")
    assert set(outcomes.values()) == {"passed"}
    (said,) = [check.detail or "" for check in report.checks if check.id == "test_endless"]
    assert "check test_endless on ada" in said
    assert [cell.earned for cell in report.cells] == [None, 1.0 if last == "passed" else None, None]
    assert isinstance(found["bob"], Report)
    assert found["bob"].earned == 3
    begun = (job("x", "pass").homework.assignments.parent.parent / "ada" / "begun").read_text().splitlines()
    assert len(begun) in (2, 3), "it is tried once more, alone"
    assert found["bob"].checks[0].outcome == "passed"


def test_a_judge_process_has_a_wall_around_its_memory(job):
    ((_, soft),) = run_jobs([job("ada", "pass")], Local(1), at_work.wall)
    assert soft != resource.RLIM_INFINITY
    assert soft < 4 << 30
