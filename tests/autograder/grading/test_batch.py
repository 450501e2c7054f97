"""Grading a class into its folder: what is done is not done again, and no end of the grader changes how it ends."""

from __future__ import annotations

import csv
import errno
import fcntl
import os
import random
import resource
import signal
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from autograder.commands.progress import summary
from autograder.course.course import Course, init_course, load_course
from autograder.errors import Infrastructure, UserError
from autograder.grading import batch as module
from autograder.grading.batch import grade_course
from autograder.grading.executor import Trouble
from autograder.grading.results import Batch, Events, Options
from autograder.homework.settings import LATER
from autograder.judge import grade as grading
from autograder.judge.job import Job
from autograder.records.gradebook import Book, dump
from autograder.records.rendering import grade_and_render, rendered
from autograder.report import Report
from autograder.submissions.collect import Look
from autograder.submissions.person import Person
from tests.autograder.course_factory import ANSWERS, NAME, answered, make_repository, to_bytes
from tests.autograder.providers import FailingProvider, FakeProvider, ForkProvider, leftovers

WRONG = ANSWERS | {"double-answer": "def double(x):\n    return x * 3\n"}
CLASS: dict[str, Mapping[str, str]] = {"ada": ANSWERS, "bob": WRONG, "cleo": {}}
POINTS = {"ada": 3.0, "bob": 1.0, "cleo": 0.0}
Work = Callable[[Job], Report]


@pytest.fixture(autouse=True)
def here(monkeypatch) -> list[str]:
    """Jobs run in this process, in forked workers; whose submissions were graded is returned."""
    ran: list[str] = []

    def run(jobs: list[Job], workers: int, work: Work, started: Callable[[str], None]) -> Iterator[tuple[Job, Report]]:
        for job in jobs:
            if work is grade_and_render:
                ran.append(job.submission.student)
            started(job.submission.student)
            yield job, work(job)

    monkeypatch.setattr(module, "run_jobs", run)
    monkeypatch.setattr(module, "Reader", lambda record: nullcontext(Look()))
    monkeypatch.setattr(module, "sweep", lambda: [])
    return ran


@pytest.fixture(autouse=True)
def provider(monkeypatch) -> Iterator[ForkProvider]:
    source = ForkProvider()
    use(monkeypatch, source)
    yield source
    source.close()


def use(monkeypatch, source: FakeProvider) -> None:
    monkeypatch.setattr(grading, "provider_of", lambda *arguments: source)


@pytest.fixture
def course(tmp_path) -> Course:
    return make_course(tmp_path)


def make_course(folder: Path, students: Mapping[str, Mapping[str, str]] = CLASS) -> Course:
    """A course in which the class has handed in."""
    repository = make_repository(folder)
    people = [Person(id=student, name=f"{student.capitalize()} Lovelace") for student in students]
    course = init_course(
        folder / "course",
        assignments=repository.assignments,
        solutions=repository.solutions,
        students=people,
        settings={"salt": 2**130 + 5},
    )
    for student, answers in students.items():
        hand_in(course, student, answers)
    return course


def hand_in(course: Course, student: str, answers: Mapping[str, str]) -> None:
    template = module.load_assignment(course.files(NAME)).template
    folder = course.submitted_dir / student / NAME
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{NAME}.ipynb").write_bytes(to_bytes(answered(template, dict(answers))))
    (folder / "timestamp.txt").write_text("2026-01-02 03:04:05 UTC")


def run(course: Course, source: Path | None = None, **options: object) -> Batch:
    return grade_course(course, NAME, source, Options(sandbox="process", **options))


def points(course: Course) -> dict[str, float]:
    with (course.root / "scores.csv").open() as file:
        return {row["student"]: float(row["total"] or "nan") for row in csv.DictReader(file)}


def marks(submission: dict[str, dict[str, list[object]]]) -> dict[str, list[object]]:
    """Automatic score, a human's score, and whether a human is waited for, by cell."""
    return {cell: [grade[0], grade[1], grade[3]] for cell, grade in submission["grades"].items()}


def assignment_of(course: Course):
    return module.load_assignment(course.files(NAME))


# --- hidden checks are shown when the time of all is over


def test_hidden_checks_stay_closed_while_somebody_has_more_time(course):
    config = course.files(NAME).config
    config.write_text(f"{config.read_text()}\nfeedback: {LATER}\n")
    with pytest.raises(UserError, match=f"`due:` of course.yaml has none for `{NAME}`"):
        run(course)
    settings = course.root / "course.yaml"
    settings.write_text(f"{settings.read_text()}\ndue: {{{NAME}: 2026-01-01T00:00:00+00:00}}\n")
    more = course.root / "extensions.yaml"
    more.write_text(f"bob: {{{NAME}: {{until: 2999-01-01T00:00:00+00:00, reason: illness}}}}\n")
    hidden = next(check.title for check in assignment_of(course).checks if not check.public)
    pages = course.feedback_dir(NAME)
    run(load_course(course.root))
    assert hidden not in (pages / "ada.html").read_text()
    assert "shown after the deadline (1 January 2999" in (pages / "ada.html").read_text()
    more.unlink()
    run(load_course(course.root))
    assert hidden in (pages / "ada.html").read_text()


# --- what is done is not done again


def test_a_class_is_graded_into_reports_gradebook_scores_and_pages(course, here):
    told: list[object] = []
    progress = Events(total=told.append, started=told.append, done=lambda student, result: told.append(student))
    batch = grade_course(course, NAME, None, Options(sandbox="process"), progress)
    assert {report.student: report.earned for report in batch.reports} == POINTS
    assert told == [3, "ada", "ada", "bob", "bob", "cleo", "cleo"]
    assert points(course) == POINTS
    grades = dump(course.gradebook_url)["assignments"][NAME]["submissions"]
    automatic_manual_waits = {"double": [0.0, None, False], "line": [1.0, None, False], "why": [None, None, True]}
    assert marks(grades["bob"]) == automatic_manual_waits
    assert marks(grades["cleo"])["why"] == [0.0, None, False], "a blank answer needs no human"
    assert dump(course.gradebook_url)["students"]["ada"] == ["Ada", "Lovelace", None]
    for student in CLASS:
        assert (course.feedback_dir(NAME) / f"{student}.html").exists()
        assert course.autograded_path(NAME, student).exists()
    assert all(student in (course.feedback_dir(NAME) / "class.html").read_text() for student in CLASS)
    assert leftovers(course.root) == []


def test_an_unchanged_submission_is_not_run_again_unless_forced(course, here):
    run(course)
    before = dump(course.gradebook_url)
    here.clear()
    batch = run(course)
    assert (here, batch.reused, len(batch.reports)) == ([], 3, 3)
    assert dump(course.gradebook_url) == before
    assert run(course, force=True).reused == 0
    assert sorted(here) == sorted(CLASS)
    assert dump(course.gradebook_url) == before


def test_only_what_changed_is_run_again(course, here):
    run(course)
    here.clear()
    hand_in(course, "cleo", ANSWERS)
    run(course)
    assert here == ["cleo"]
    assert points(course) == POINTS | {"cleo": 3.0}


def test_a_broken_report_is_made_anew(course, here):
    run(course)
    course.report_path(NAME, "bob").write_text("{")
    here.clear()
    run(course)
    assert here == ["bob"]
    assert points(course) == POINTS


def test_what_the_machine_failed_is_queued_again_and_costs_nothing(course, here, monkeypatch, tmp_path):
    undisturbed = make_course(tmp_path / "undisturbed")
    run(undisturbed)
    use(monkeypatch, FailingProvider(Infrastructure("no engine")))
    batch = run(course, students=frozenset({"bob"}))
    assert [report.student for report in batch.infrastructure] == ["bob"]
    assert dump(course.gradebook_url)["assignments"][NAME]["submissions"] == {}
    assert "machine trouble" in (course.feedback_dir(NAME) / "class.html").read_text()
    use(monkeypatch, ForkProvider())
    run(course)
    here.clear()
    assert run(course).infrastructure == []
    assert here == []
    assert dump(course.gradebook_url) == dump(undisturbed.gradebook_url)


def test_what_the_machine_was_too_busy_for_is_not_queued_for_ever_and_costs_nothing(course, here, monkeypatch, capsys):
    undisturbed = grading.grade

    def too_busy(job: Job) -> Report:
        report = undisturbed(job)
        trouble = {"outcome": "infrastructure", "starved": True, "fraction": 0.0, "reason": None, "message": "too busy"}
        checks = [check.model_copy(update=trouble) for check in report.checks[:1]]
        return report.model_copy(update={"checks": [*checks, *report.checks[1:]]})

    monkeypatch.setattr(grading, "grade", too_busy)
    batch = run(course, students=frozenset({"bob"}))
    assert [report.student for report in batch.infrastructure] == ["bob"]
    assert dump(course.gradebook_url)["assignments"][NAME]["submissions"] == {}
    assert "when the machine has less to do" in (course.feedback_dir(NAME) / "class.html").read_text()
    summary(course, batch)
    said = " ".join(capsys.readouterr().out.split())
    assert "too busy for bob, twice: no points are lost; run the same command with --force" in said
    monkeypatch.setattr(grading, "grade", undisturbed)
    here.clear()
    again = run(course)
    assert "bob" not in here
    assert again.infrastructure == batch.infrastructure
    assert run(course, force=True).infrastructure == []
    assert points(course) == POINTS


def test_a_failing_machine_leaves_an_earlier_grade_as_it_was(course, monkeypatch):
    run(course)
    before = dump(course.gradebook_url)
    use(monkeypatch, FailingProvider(Infrastructure("no engine")))
    assert len(run(course, force=True).infrastructure) == 3
    assert dump(course.gradebook_url) == before


def test_a_submission_the_grader_stumbles_over_is_named_and_the_rest_goes_on(course, here, monkeypatch):
    def stumble(jobs, workers, work, started):
        for job in jobs:
            trouble = Trouble(job.submission.student, "the judge's process died twice; grade again")
            yield job, trouble if job.submission.student == "bob" else work(job)

    patched = module.run_jobs
    monkeypatch.setattr(module, "run_jobs", stumble)
    batch = run(course)
    assert batch.rejected == {"bob": "the judge's process died twice; grade again"}
    with course.scores_path.open() as file:
        statuses = {row["student"]: row["status"] for row in csv.DictReader(file)}
    assert statuses["bob"].startswith("not graded: the judge's process died twice")
    assert statuses["cleo"] == "graded"
    monkeypatch.setattr(module, "run_jobs", patched)
    run(course)
    assert here == ["bob"]


def test_one_student_can_be_graded_and_the_class_page_keeps_everybody(course, here):
    run(course)
    here.clear()
    batch = run(course, students=frozenset({"bob"}), force=True)
    assert here == ["bob"]
    assert [report.student for report in batch.reports] == ["bob"]
    page = (course.feedback_dir(NAME) / "class.html").read_text()
    assert all(student in page for student in CLASS)
    assert points(course) == POINTS
    with pytest.raises(UserError, match="nothing of nobody lies under"):
        run(course, students=frozenset({"nobody"}))


# --- a human's score


def test_a_humans_score_survives_grading_again(course):
    run(course)
    with Book(course.gradebook_url) as book:
        book.set_manual(assignment_of(course), "ada", "why", 0.75)
        book.set_manual(assignment_of(course), "bob", "double", 1.5)  # a human overrules the checks
    for _ in range(2):
        run(course, force=True)
    grades = dump(course.gradebook_url)["assignments"][NAME]["submissions"]
    assert marks(grades["ada"])["why"] == [None, 0.75, False]
    assert marks(grades["bob"])["double"] == [0.0, 1.5, False]
    assert points(course) == {"ada": 3.75, "bob": 2.5, "cleo": 0.0}


def test_a_humans_score_is_to_be_looked_at_again_when_the_answer_changed(course):
    run(course)
    with Book(course.gradebook_url) as book:
        book.set_manual(assignment_of(course), "ada", "why", 0.75)
    hand_in(course, "ada", ANSWERS | {"why": "Why does the slope end near 3?\n\nI have thought again.\n"})
    run(course)
    grades = dump(course.gradebook_url)["assignments"][NAME]["submissions"]
    assert marks(grades["ada"])["why"] == [None, 0.75, True]


# --- ends of the grader


def in_child(action: Callable[[], object], kill_after: float | None = None) -> int:
    """Do something in a forked child, which may be killed meanwhile; its exit code, -9 if it was killed."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except BaseException:
            traceback.print_exc(limit=-1, chain=False)  # a file may hold no more
        finally:
            os._exit(1)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_grader_killed_at_any_moment_and_started_again_ends_like_an_undisturbed_one(tmp_path, monkeypatch):
    rounds, kills_each = 8, 4
    students = {f"s{number}": (ANSWERS, WRONG, {})[number % 3] for number in range(4)}
    undisturbed = make_course(tmp_path / "undisturbed", students)
    reports = {report.student: report for report in run(undisturbed).reports}
    export = tmp_path / "export"
    undisturbed.submitted_dir.rename(export)

    def replay(jobs, workers, work, started):
        """What was graded before, so that nearly all the time goes where a kill could hurt."""
        for job in jobs:
            known = reports[job.submission.student]
            yield job, rendered(module.load_assignment(job.homework), known, job.submission.read(), job.remarks)

    monkeypatch.setattr(module, "run_jobs", replay)
    expected = dump(undisturbed.gradebook_url)
    scores = undisturbed.scores_path.read_bytes()
    settings = (undisturbed.root / "course.yaml").read_text()
    begin = time.monotonic()
    timed = make_course(tmp_path / "timed", {})
    assert in_child(lambda: grade_course(load_course(timed.root), NAME, export, Options(sandbox="process"))) == 0
    whole = time.monotonic() - begin

    draw = random.Random(20)
    killed = 0
    for number in range(rounds):
        course = make_course(tmp_path / str(number), {})
        (course.root / "course.yaml").write_text(settings)
        (course.root / "students.csv").write_bytes((undisturbed.root / "students.csv").read_bytes())
        action = partial(grade_course, load_course(course.root), NAME, export, Options(sandbox="process"))
        for _ in range(kills_each):
            while in_child(action, draw.uniform(0, whole)) != -signal.SIGKILL:
                whole *= 0.9  # it had ended before; this machine is faster than it was
                for path in course.root.rglob("*.json"):
                    path.unlink()
            killed += 1
        assert in_child(action) == 0
        assert dump(course.gradebook_url) == expected
        assert {s: Report.load(course.report_path(NAME, s)) for s in students} == reports
        assert course.scores_path.read_bytes() == scores
        assert leftovers(course.root) == []
        assert sorted(path.name for path in course.submitted_dir.iterdir()) == sorted(students)
    assert killed >= 20


def test_a_submission_between_two_places_is_found_again(course):
    target = course.submitted_dir / "ada" / NAME
    whole = (target / f"{NAME}.ipynb").read_bytes()
    (course.submitted_dir / "ada" / f".{NAME}-half").mkdir()
    target.rename(course.submitted_dir / "ada" / f".{NAME}-old-x")  # the grader was killed here
    run(course)
    assert (target / f"{NAME}.ipynb").read_bytes() == whole
    assert leftovers(course.root) == []
    assert points(course) == POINTS


def test_two_graders_do_not_work_on_one_course(course):
    with (course.root / "course.yaml").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another grader is at work"):
            run(course)
    run(course)


# --- the machine's limits


@pytest.fixture
def impatient(monkeypatch) -> None:
    monkeypatch.setattr("autograder.records.gradebook.database.WAIT_SECONDS", 0.2)


def locked(course: Course) -> sqlite3.Connection:
    connection = sqlite3.connect(course.gradebook_url.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


def test_a_locked_gradebook_is_a_sentence_and_grading_goes_on_later(course, here, impatient):
    run(course, students=frozenset({"ada"}))
    connection = locked(course)
    with pytest.raises(UserError, match="in use by another program"):
        run(course)
    connection.close()
    run(course)
    assert points(course) == POINTS


def test_a_gradebook_locked_in_the_middle_keeps_what_was_graded(course, here, monkeypatch, impatient, tmp_path):
    def lock_after_one(jobs, workers, work, started):
        for job in jobs:
            yield job, work(job)
            connections.append(locked(course))

    connections: list[sqlite3.Connection] = []
    patched = module.run_jobs
    monkeypatch.setattr(module, "run_jobs", lock_after_one)
    with pytest.raises(UserError, match="in use by another program"):
        run(course)
    assert sorted(path.stem for path in course.reports_dir(NAME).glob("*.json")) == ["ada", "bob"]
    connections[0].close()
    monkeypatch.setattr(module, "run_jobs", patched)
    run(course)
    assert here == ["cleo"]
    assert points(course) == POINTS


def test_a_full_disk_leaves_nothing_half_written_and_grading_goes_on_later(course, here, monkeypatch):
    synced, count = os.fsync, iter(range(100))

    def full(descriptor: int) -> None:
        if next(count) >= 3:  # the second student's report
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        synced(descriptor)

    monkeypatch.setattr("autograder.report.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        run(course)
    assert leftovers(course.root) == []
    for path in course.reports_dir(NAME).glob("*.json"):
        Report.load(path)
    monkeypatch.undo()
    source = ForkProvider()
    use(monkeypatch, source)
    monkeypatch.setattr(module, "run_jobs", lambda jobs, workers, work, started: ((job, work(job)) for job in jobs))
    run(course)
    assert points(course) == POINTS
    source.close()


@pytest.mark.parametrize("kilobytes", [1, 30, 130])
def test_a_kernel_that_refuses_to_write_ends_the_grader_and_spoils_nothing(course, kilobytes, capfd):
    def squeezed() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes << 10, resource.RLIM_INFINITY))
        run(course)

    in_child(squeezed)
    told = capfd.readouterr().err
    assert "UserError" in told or "OSError" in told or "File too large" in told or not told
    assert leftovers(course.root) == []
    run(course)
    assert points(course) == POINTS
