"""Many parts, each legal, add up to no more than a submission's share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from nbformat import NotebookNode

from autograder.course.course import Course
from autograder.feedback import student_page, text
from autograder.grading.batch import grade_course
from autograder.grading.results import Options
from autograder.homework import ipynb
from autograder.judge import grade as grading
from autograder.judge.grade import grade
from autograder.judge.job import Job
from autograder.report import CellRun, Report
from autograder.submission import Submission
from tests.autograder.course_factory import NAME, answered, blank_bytes, make_repository, to_bytes
from tests.autograder.grading.test_batch import make_course
from tests.autograder.operations import operations
from tests.autograder.providers import ForkProvider

SHARE = 1_000_000  # bytes
FRAME = 400_000  # what everything else of a report may take: its checks, its cells' numbers
LOUD = {
    "output": "print('x' * 60_000)",
    "control characters": "print(chr(0) * 60_000)",
    "notes": "\n".join(f"!pip install p{i}-{'y' * 60}" for i in range(60)),
    "errors": "raise ValueError('z' * 1900)",
    "all": "print(chr(1) * 60_000)\n" + "\n".join(f"!ls {i}{chr(0x1F600) * 60}" for i in range(60)) + "\n1 / 0",
}


@pytest.fixture(autouse=True)
def provider(monkeypatch) -> Iterator[ForkProvider]:
    source = ForkProvider()
    monkeypatch.setattr(grading, "provider_of", lambda *arguments: source)
    yield source
    source.close()


def loud(folder: Path, source: str, cells: int = 40, checks: str = "") -> Report:
    repository = make_repository(folder)
    hidden = repository.solutions / "hw0" / "checks.py"
    hidden.write_text(hidden.read_text() + checks)
    notebook = answered(repository.load().template)
    notebook.cells[:0] = code(source, cells)
    return grade(Job(repository.files, Submission.of("ada", to_bytes(notebook)), "process"))


def code(source: str, count: int) -> list[NotebookNode]:
    """The same cell a number of times."""
    raw = {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}
    cells: list[NotebookNode] = ipynb.as_notebook([raw | {"id": f"added-{i}"} for i in range(count)]).cells
    return cells


@pytest.mark.parametrize("kind", ["output", "control characters", "all"])
def test_a_report_and_its_page_stay_small_and_say_what_was_cut(tmp_path, kind):
    report = loud(tmp_path, LOUD[kind])
    assert len(report.model_dump_json(indent=1).encode()) < SHARE + FRAME
    assert len(student_page(report, "Loud").encode()) < 3 * SHARE
    assert report.earned == 3
    said = " ".join([*report.notes, *(run.stdout[-200:] for run in report.runs)])
    assert "left out" in said


@pytest.mark.parametrize("kind", ["notes", "errors"])
def test_notes_and_errors_of_forty_cells_fit(tmp_path, kind):
    report = loud(tmp_path, LOUD[kind])
    assert len(report.model_dump_json(indent=1).encode()) < SHARE + FRAME
    assert report.runs[5].error or report.runs[5].notes


def test_messages_of_many_checks_count_as_they_are_written(tmp_path):
    body = 'raise Wrong("w" + chr(2) * 1999, detail=chr(3) * 8000)'
    checks = "from autograder.checks import Wrong\n\n\n" + "\n\n\n".join(
        f'@pytest.mark.graded("double", points=0)\ndef test_{i}(student):\n    """It is said."""\n    {body}'
        for i in range(60)
    )
    report = loud(tmp_path, "pass", 1, checks)
    assert len(report.model_dump_json(indent=1).encode()) < SHARE + FRAME
    loud_ones = [check for check in report.checks if check.id[5:].isdigit()]
    assert len(loud_ones) == 60
    assert all(check.message.startswith("w") or "left out" in check.message for check in loud_ones)


@pytest.mark.parametrize("words", ["x", "\x00", "é", '"', "\U0001f600", "a\r", "\x1b[31m"])
def test_text_is_measured_as_it_is_written(words):
    from autograder.judge.said import written

    run = CellRun(index=1, status="ok", seconds=0.0, stdout=words * 100)
    bare = CellRun(index=1, status="ok", seconds=0.0)
    assert written(words * 100) == len(run.model_dump_json().encode()) - len(bare.model_dump_json().encode())


# --- cleaning


LINES = {
    "one line": "x" * 3000,
    "escapes": "\x1b[" + "0" * 3000,
    "returns": "ab\r" * 1000,
    "blanks": " \n" * 1500,
    "controls": "\x00\x9b" * 1500,
    "wide": "\U0001f468\u200d" * 1500,
}


@pytest.mark.parametrize("kind", LINES)
def test_cleaning_grows_with_the_text(kind):
    once, four = LINES[kind], LINES[kind] * 4
    few, many = (operations(lambda t=t: text.clean(t, len(t))) for t in (once, four))
    assert many <= 4.4 * few


def test_a_progress_bar_is_what_it_was_rewritten_to():
    assert text.clean("1 %\r2 %\r100 %\nnext\r") == "100 %\nnext"
    assert text.clean("a\r\nb\rc") == "a\nc"


# --- nothing again


@pytest.fixture
def course(tmp_path) -> Course:
    return make_course(tmp_path)


def test_what_did_not_change_is_not_rendered_again(course, monkeypatch):
    grade_course(course, NAME, None, Options(sandbox="process", jobs=1))
    pages = sorted(p for p in course.feedback_dir(NAME).glob("*.html") if p.name != "class.html")
    written = [*pages, *sorted(course.autograded_dir.rglob("*.ipynb"))]
    before = {path: path.stat().st_mtime_ns for path in written}
    assert len(before) == 6
    grade_course(course, NAME, None, Options(sandbox="process", jobs=1))
    assert {path: path.stat().st_mtime_ns for path in written} == before


def test_what_is_gone_is_written_again(course):
    grade_course(course, NAME, None, Options(sandbox="process", jobs=1))
    page, notebook = course.feedback_dir(NAME) / "ada.html", course.autograded_path(NAME, "ada")
    before = page.read_bytes(), notebook.read_bytes()
    page.unlink()
    notebook.unlink()
    grade_course(course, NAME, None, Options(sandbox="process", jobs=1))
    assert (page.read_bytes(), notebook.read_bytes()) == before


def test_the_process_that_serves_all_reads_and_renders_no_submission(course, monkeypatch):
    template = course.files(NAME).template().read_bytes()
    read: list[bytes] = []
    rendered: list[str] = []
    parse = ipynb.parse
    monkeypatch.setattr(ipynb, "parse", lambda data: (read.append(data), parse(data))[1])
    monkeypatch.setattr(
        "autograder.feedback.page.student_page", lambda report, *rest: (rendered.append(report.student), "")[1]
    )
    for _ in range(2):
        grade_course(course, NAME, course.submitted_dir, Options(sandbox="process", jobs=1))
        (course.feedback_dir(NAME) / "ada.html").unlink()
    assert {data for data in read if data != template} == set()
    assert rendered == []


def test_a_notebook_of_nothing_is_no_trouble(tmp_path):
    repository = make_repository(tmp_path)
    report = grade(Job(repository.files, Submission.of("ada", blank_bytes([])), "process"))
    assert report.earned == 0
