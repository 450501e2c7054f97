"""Every attack of the suite, run in a real container, earns its honest part and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from autograder.errors import UserError
from autograder.grading.local import judges
from autograder.judge.grade import grade
from autograder.judge.job import Job
from autograder.judge.providers import close_providers
from autograder.report import Report
from autograder.sandbox import image
from autograder.submission import Submission
from tests.autograder import at_work
from tests.autograder.containers.attacks import (
    CANARY,
    MARKER,
    Cheat,
    assert_foiled,
    cheats,
    hidden_course,
    snapshot,
)
from tests.autograder.course_factory import Repository, answered, to_bytes

pytestmark = pytest.mark.container
CHEATS = {cheat.name: cheat for cheat in cheats()}


@pytest.fixture(scope="module")
def engine() -> Iterator[None]:
    """An engine with the image built; a canary in the environment of the judge."""
    try:
        image.build()
    except UserError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    os.environ["AUTOGRADER_CANARY"] = CANARY
    MARKER.unlink(missing_ok=True)
    yield
    del os.environ["AUTOGRADER_CANARY"]
    close_providers()


@pytest.fixture(scope="module")
def courses(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Repository]:
    """One copy of the small homework for each cell budget the suite asks for."""
    budgets = {cheat.cell_seconds for cheat in CHEATS.values()}
    return {seconds: hidden_course(tmp_path_factory.mktemp("course"), seconds) for seconds in budgets}


def graded(submission: Submission, repository: Repository) -> Report:
    return grade(Job(repository.files, submission, "docker"))


@pytest.fixture(scope="module")
def judge() -> Iterator[ProcessPoolExecutor]:
    """A judge process, as a class has it."""
    with judges(1) as executor:
        yield executor


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_earns_its_honest_part_and_nothing_else(
    name: str, courses: dict[float, Repository], judge: ProcessPoolExecutor
) -> None:
    cheat = CHEATS[name]
    repository = courses[cheat.cell_seconds]
    before = snapshot(repository.root)
    job = Job(repository.files, cheat.submission(repository), "docker")
    report, peak = judge.submit(at_work.measured, job).result()
    assert_foiled(cheat, report)
    assert snapshot(repository.root) == before
    assert peak < at_work.JUDGE_MB, f"the judge held {peak:.0f} MB"


@pytest.mark.usefixtures("engine")
def test_the_honest_solution_earns_everything_under_the_same_budgets(courses: dict[float, Repository]) -> None:
    repository = courses[4.0]
    honest = Submission.of("honest", to_bytes(answered(repository.load().template)))
    assert graded(honest, repository).earned == 3


@pytest.mark.usefixtures("engine")
def test_the_scan_for_secrets_reads_files_and_would_have_found_one(courses: dict[float, Repository]) -> None:
    cheat = CHEATS["reads_everything"]
    repository = courses[cheat.cell_seconds]
    report = graded(cheat.submission(repository), repository)
    said = "\n".join(run.stdout for run in report.runs)
    assert "CONTROL True" in said
    assert int(said.split("files read: ")[1].split()[0]) > 100


@pytest.mark.usefixtures("engine")
def test_a_submission_finds_nothing_of_the_one_before(courses: dict[float, Repository]) -> None:
    cheat = CHEATS["leaves_something_behind"]
    repository = courses[cheat.cell_seconds]
    for _ in range(2):
        report = graded(cheat.submission(repository), repository)
        said = "\n".join(run.stdout for run in report.runs)
        assert "left a note in /tmp" in said
        assert "FOUND" not in said


def test_every_row_that_a_submission_can_try_by_itself_has_a_cheat() -> None:
    elsewhere = {13, 18, 19, 20, 21}  # what is handed in; homework 1's own checks; the pages; the notebook's structure
    elsewhere |= {25, 27, 28, 29, 30}  # the engine; other tools; homeworks; lies; names
    assert {cheat.row for cheat in CHEATS.values()} == set(range(1, 31)) - elsewhere


def test_every_cheat_says_what_it_tries() -> None:
    assert all(isinstance(cheat, Cheat) and cheat.what.endswith(".") for cheat in CHEATS.values())


def test_no_payload_left_its_mark_on_this_machine() -> None:
    assert not MARKER.exists()
    assert not Path("/tmp/planted").exists()
