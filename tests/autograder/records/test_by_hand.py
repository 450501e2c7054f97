"""What somebody gives in formgrader reaches pages, scores and `show` without grading again; and who may read what."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from autograder.commands.show import show_report
from autograder.course.course import Course
from autograder.feedback import Remarks, student_page, visible
from autograder.homework.settings import LATER, POINTS
from autograder.records.gradebook import Book
from autograder.records.pages import refresh
from autograder.records.record import Record
from autograder.records.rendering import rendered
from autograder.records.scores import write_scores
from autograder.records.settle import Desk, settle
from autograder.records.standing import remarks_of
from autograder.report import CheckResult
from autograder.submission import Submission
from tests.autograder.course_factory import ANSWERS, NAME, Repository, answered, make_repository, to_bytes
from tests.autograder.records.test_autograded import course, report  # noqa: F401 (a fixture)

WAITS = "Your answer is read by a human. The points appear when they have done so."


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return make_repository(tmp_path_factory.mktemp("course"))


def settled(course: Course, repository: Repository, answers: dict[str, str] = ANSWERS, **known: object) -> None:  # noqa: F811
    hw0 = repository.load()
    submission = Submission.of("alice", to_bytes(answered(hw0.template, answers)))
    with Book(course.gradebook_url) as book, Record(course.root, NAME) as record:
        book.ensure_assignment(hw0)
        record.put_homework(hw0)
        record.change("alice", sha=submission.sha256, **known)
        settle(Desk(course, hw0, book, record), rendered(hw0, report(), submission), submission)
        refresh(course, hw0, record)
        write_scores(course, record)


def looked_at(course: Course, repository: Repository) -> str:  # noqa: F811
    """The student's page after `autograder scores`."""
    with Record(course.root, NAME) as record:
        refresh(course, repository.load(), record)
        write_scores(course, record)
    return (course.feedback_dir(NAME) / "alice.html").read_text()


def row(course: Course) -> dict[str, str]:  # noqa: F811
    return next(csv.DictReader(course.scores_path.open()))


def test_points_and_comments_reach_everything_without_grading_again(
    course: Course,  # noqa: F811
    repository: Repository,
) -> None:
    settled(course, repository)
    before = (course.feedback_dir(NAME) / "alice.html").read_text()
    assert WAITS in before
    assert row(course)["needs_manual"] == "why"
    with Book(course.gradebook_url) as book:
        book.set_manual(repository.load(), "alice", "why", 0.75, "Name the <minimum>, too.")
    page = looked_at(course, repository)
    assert WAITS not in page
    assert "0.75 of 1 point of theory." in page
    assert "Name the &lt;minimum&gt;, too." in page
    assert (row(course)["hw0/why"], row(course)["needs_manual"], row(course)["status"]) == ("0.75", "", "graded")
    assert "0.75 / 1" in (course.feedback_dir(NAME) / "class.html").read_text()
    with Record(course.root, NAME) as record:
        console = Console(file=io.StringIO(), width=120, color_system=None)
        show_report(report(), "Doubling", console=console, remarks=remarks_of(course, record, "alice"))
    for words in ("0.75 of 1 by hand", "0.75 / 1", "Name the <minimum>, too."):
        assert words in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_changed_answer_keeps_its_points_and_is_to_be_looked_at_again(
    course: Course,  # noqa: F811
    repository: Repository,
) -> None:
    settled(course, repository)
    with Book(course.gradebook_url) as book:
        book.set_manual(repository.load(), "alice", "why", 0.75)
    looked_at(course, repository)
    course.autograded_path(NAME, "alice").unlink()  # as nbgrader's own autograde does before it asks us
    settled(course, repository, ANSWERS | {"why": "Something else.\n"})
    page = (course.feedback_dir(NAME) / "alice.html").read_text()
    assert "0.75 of 1 point of theory." in page
    assert "Your answer has changed since; it will be looked at again." in page
    assert (row(course)["hw0/why"], row(course)["needs_manual"]) == ("0.75", "why")


def test_a_blank_answer_waits_for_nobody(course: Course, repository: Repository) -> None:  # noqa: F811
    settled(course, repository, {})
    page = (course.feedback_dir(NAME) / "alice.html").read_text()
    assert WAITS not in page
    assert "There is no answer." in page


def test_a_page_says_when_something_came_and_what_is_wrong_with_what_came_later(
    course: Course,  # noqa: F811
    repository: Repository,
) -> None:
    settled(course, repository)
    assert "when is not known, so it is not counted as late" in (course.feedback_dir(NAME) / "alice.html").read_text()
    known = {"submitted": "2026-01-02T03:04:05+03:00", "clock": "Gradescope"}
    settled(course, repository, **known, rejected="`hw0.ipynb` is empty.", origin="collecting")
    page = (course.feedback_dir(NAME) / "alice.html").read_text()
    assert "2 January 2026, 00:04 UTC (Gradescope)" in page
    assert "What you handed in last could not be graded: <code>hw0.ipynb</code> is empty." in page


HIDDEN = CheckResult(
    id="test_y", cell="line", title="Secret slope.", public=False, points=1, fraction=0.4, outcome="partial",
    reason="wrong", message="far off",
)  # fmt: skip


def test_hidden_checks_are_shown_after_the_deadline_and_not_before() -> None:
    whole = report().model_copy(update={"checks": [*report().checks, HIDDEN]})
    before = visible(whole, LATER, Remarks(deadline="1 October"))
    assert [check.title for check in before.checks] == ["Doubling 1 gives 2."]
    assert [(cell.cell, cell.earned) for cell in before.cells if not cell.manual] == [("double", 1.5)]
    page = student_page(whole, "Doubling", rule=LATER, remarks=Remarks(deadline="1 October"))
    assert "1 hidden check of this homework is shown after the deadline (1 October)" in page
    assert not [words for words in ("Secret slope", "far off", "<b>1.9") if words in page]
    assert visible(whole, LATER, Remarks(over=True)) == whole
    assert "Secret slope" in student_page(whole, "Doubling", rule=LATER, remarks=Remarks(over=True))


def test_points_only_are_points_only() -> None:
    whole = report().model_copy(update={"checks": [*report().checks, HIDDEN]})
    page = student_page(whole, "Doubling", rule=POINTS)
    assert "<b>1.9</b>" in page
    assert not [words for words in ("Secret slope", "far off", "Doubling 1 gives 2", "checks passed") if words in page]
    assert "Secret slope" in student_page(whole, "Doubling", "ta", rule=POINTS)


def test_the_rule_of_a_homework_is_what_its_page_obeys(repository: Repository, course: Course) -> None:  # noqa: F811
    config: Path = repository.files.config
    text = config.read_text()
    try:
        settled(course, repository)
        assert "Doubling 1 gives 2" in (course.feedback_dir(NAME) / "alice.html").read_text()
        config.write_text(f"{text}feedback: points only\n")
        assert "Doubling 1 gives 2" not in looked_at(course, repository)
        (course.root / "state.db").unlink()
        (course.feedback_dir(NAME) / "alice.html").unlink()
        assert "<h1>" in looked_at(course, repository), "made anew, as the record is"
    finally:
        config.write_text(text)
