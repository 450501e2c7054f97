"""A class on judge processes: whoever kills a judge costs nobody else anything, and nothing outlives the grader."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import closing

import pytest

from autograder.errors import UserError
from autograder.grading.executor import Trouble, run_jobs
from autograder.grading.local import Local
from autograder.homework.files import HomeworkFiles
from autograder.judge.job import Job
from autograder.submission import Submission
from tests.autograder import at_work
from tests.autograder.course_factory import NAME, answered, to_bytes
from tests.autograder.providers import leftovers
from tests.autograder.running import PATIENCE, alive, class_with_sleepers, start, stop_when_one_is_graded, wait_until


@pytest.fixture
def jobs(tmp_path) -> Callable[..., list[Job]]:
    return lambda *students: [
        Job(HomeworkFiles(NAME, tmp_path, None), Submission.of(student, b"{}"), "process") for student in students
    ]


def results(jobs: list[Job], work: Callable[[Job], object], workers: int = 2) -> dict[str, object]:
    return {job.submission.student: result for job, result in run_jobs(jobs, Local(workers), work)}


def test_every_job_is_done_once_and_knows_whether_another_follows(jobs):
    begun: list[str] = []
    found = list(run_jobs(jobs("a", "b", "c", "d", "e"), Local(2), at_work.name, begun.append))
    assert sorted(job.submission.student for job, _ in found) == ["a", "b", "c", "d", "e"]
    assert begun == ["a", "b", "c", "d", "e"]
    assert {student: more for _, (student, more, _) in found} == {
        "a": True, "b": True, "c": True, "d": False, "e": False,
    }  # fmt: skip
    assert os.getpid() not in {pid for _, (_, _, pid) in found}


def test_a_judge_computes_on_one_thread(jobs):
    assert results(jobs("a"), at_work.threads, workers=1) == {"a": 1}


def test_a_job_that_kills_its_judge_is_done_again_and_then_reported_and_the_others_are_done(jobs):
    found = results(jobs("slow", "killer", "a", "once", "b"), at_work.die)
    trouble = found.pop("killer")
    assert isinstance(trouble, Trouble)
    assert trouble.sentence == "the judge's process died three times; grade again"
    assert found == {student: student for student in ("slow", "a", "once", "b")}


def test_a_class_of_killers_ends(jobs):
    assert all(isinstance(result, Trouble) for result in results(jobs("killer"), at_work.die, workers=1).values())


def test_what_the_machine_was_too_busy_for_is_done_once_more_at_the_end_alone_and_then_taken_as_it_is(jobs, tmp_path):
    begun: list[str] = []
    queue = jobs("busy", "a", "once", "b", "never")
    found = {
        job.submission.student: (result.starved, job.last, job.more)
        for job, result in run_jobs(queue, Local(2), at_work.starve, begun.append)
    }
    assert found == {
        "a": (False, False, True),
        "b": (False, False, False),
        "once": (False, True, False),
        "busy": (True, True, False),
        "never": (False, False, False),
    }
    assert begun == ["busy", "a", "once", "b", "never", "busy", "once"]
    assert (tmp_path / "together").read_text() == "", "nobody else was graded meanwhile"


def test_several_reports_of_one_job_are_made_once_more_together(jobs):
    ((job, reports),) = run_jobs(jobs("once"), Local(1), at_work.starve_twice)
    assert (len(reports), job.last) == (2, True)
    assert not any(report.starved for report in reports)


def test_whatever_a_job_raises_is_a_sentence_and_the_rest_goes_on(jobs):
    found = results(jobs("key", "exit", "a", "fault", "machine", "odd", "interrupt", "b"), at_work.stumble)
    assert (found.pop("a"), found.pop("b")) == ("a", "b")
    sentences = {student: result.sentence for student, result in found.items()}
    assert sentences == {
        "key": "the grader stumbled (KeyError: 'k')",
        "exit": "the grader stumbled (SystemExit: 3)",
        "fault": "a fault",
        "machine": "no engine",
        "interrupt": "the grader stumbled (KeyboardInterrupt: )",
        "odd": "the grader stumbled (_Odd: a)",
    }


def test_a_broken_assignment_ends_the_batch_in_its_sentence(jobs):
    with pytest.raises(UserError, match="points do not add up"):
        results(jobs("a", "b", "c"), at_work.refuse)


def test_closing_ends_the_judges_in_the_middle_of_their_work(jobs, tmp_path):
    pids: set[int] = set()
    with closing(run_jobs([*jobs("quick"), *jobs("a", "b")], Local(3), at_work.sleep, lambda student: None)) as running:

        def interrupt(signum: int, frame: object) -> None:
            pids.update(int(path.name) for path in tmp_path.iterdir())
            if pids:
                raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)
        try:
            with pytest.raises(KeyboardInterrupt):
                next(running)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert not alive(pids)
    assert {path.name for path in tmp_path.iterdir()} >= {str(pid) for pid in pids}, "one had done its work"


# --- the real thing, in the process sandbox


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_grader_that_is_stopped_leaves_nothing_behind_and_the_next_one_resumes(tmp_path, temporary, signum):
    course, template = class_with_sleepers(tmp_path)
    reports = course.report_path(NAME, "ada").parent
    command = ("grade", NAME, "--course", course.root, "--sandbox", "process", "--no-walls-as-root", "--jobs", "2")
    environment = {"TMPDIR": str(temporary)}
    stop_when_one_is_graded(start(*command, environment=environment), course, signum)
    wait_until(lambda: not any(temporary.glob("*/*")), what=lambda: list(temporary.rglob("*")))
    first = (reports / "ada.json").read_bytes()
    assert not (reports / "bob.json").exists()
    if signum == signal.SIGKILL:
        return  # test_batch.py has more of these ends, and what the next grader makes of them

    for student in ("bob", "cleo"):  # spare the test the sleeping
        path = course.submitted_dir / student / NAME / f"{NAME}.ipynb"
        path.write_bytes(to_bytes(answered(template)))
    grader = start(*command, "--json", environment=environment)
    said, told = grader.communicate(timeout=PATIENCE)
    assert grader.returncode == 0, told
    assert (reports / "ada.json").read_bytes() == first
    assert [row["points"] for row in json.loads(said)["graded"]] == [3.0] * 3
    assert leftovers(course.root) == []
    assert not any(temporary.glob("*/*"))
