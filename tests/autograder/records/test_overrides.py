"""Overrides stay whatever is graded again, whatever is lost but the log, and are shown with their reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autograder.course.course import Course
from autograder.homework.assignment import load_assignment
from autograder.records.gradebook import Book, dump
from autograder.records.log import Override, append
from autograder.records.record import Record
from autograder.records.scores import write_scores
from autograder.records.settle import Desk, settle
from autograder.submission import Submission
from tests.autograder.commands.conftest import invoke  # noqa: F401 (a fixture)
from tests.autograder.commands.saying import refused
from tests.autograder.made_up_course import DUE, made_report, make_course, rendering

WHY = "The mask is right, <b>the check</b> was wrong."


@pytest.fixture
def course(tmp_path: Path) -> Course:
    return make_course(tmp_path, homeworks=1, students=2)


def graded_again(course: Course, points: dict[str, float | None]) -> None:
    """The first student's submission, by newer checks."""
    assignment, made = load_assignment(course.files("hw1")), made_report("hw1", "s01", points)
    with Record(course.root, "hw1") as record, Book(course.gradebook_url) as book:
        book.ensure_assignment(assignment)
        rendered = rendering(made)
        settle(Desk(course, assignment, book, record), rendered, Submission("s01", b"", {}, made.submission_sha256, ""))
        write_scores(course, record)


def grades(course: Course, who: str = "s01") -> dict[str, list[object]]:
    return dump(course.gradebook_url)["assignments"]["hw1"]["submissions"][who]["grades"]


def test_an_override_survives_grading_again_and_the_loss_of_the_gradebook(course, invoke):  # noqa: F811
    said = invoke("override", "S01", "hw1", "train", "4.5", "--why", WHY, "--by", "leo", "--course", course.root)
    assert (said.code, said.out) == (0, "s01, hw1, train: 1 -> 4.5 of 5 points\n")
    assert grades(course)["train"] == [1.0, 4.5, None, False]
    graded_again(course, {"code": 6.0, "train": 0.0, "why": None})
    assert grades(course)["train"] == [0.0, 4.5, None, False]
    Path(course.gradebook_url.removeprefix("sqlite:///")).unlink()
    graded_again(course, {"code": 6.0, "train": 2.0, "why": None})
    assert grades(course)["train"] == [2.0, 4.5, None, False]


def test_the_student_reads_the_reason_and_not_the_name_and_the_staff_both(course, invoke):  # noqa: F811
    invoke("override", "s01", "hw1", "train", "4.5", "--why", WHY, "--by", "leo", "--course", course.root)
    page = (course.feedback_dir("hw1") / "s01.html").read_text()
    assert "4.5 points were given by hand" in page
    assert "The mask is right, &lt;b&gt;the check&lt;/b&gt; was wrong." in page
    assert "leo" not in page
    listed = (course.feedback_dir("hw1") / "class.html").read_text()
    assert "<code>train</code> was given 4.5 points by leo" in listed
    log = invoke("log", "--course", course.root)
    assert f"leo: s01 hw1 train: 4.5 points ({WHY})" in log.out
    assert " UTC leo: " in log.out
    assert invoke("log", "--student", "s02", "--course", course.root).out == ""
    refused(invoke("log", "--student", "eve", "--course", course.root), "`eve` is no student of the course")


def test_points_may_have_a_decimal_comma(course, invoke):  # noqa: F811
    invoke("override", "s01", "hw1", "train", "4,5", "--why", WHY, "--course", course.root)
    assert grades(course)["train"][1] == 4.5


def test_what_was_noted_and_not_entered_is_entered_by_the_next_command(course, invoke):  # noqa: F811
    """The command was killed between the log and the gradebook."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    entry = Override(at=now, by="leo", why="w", student="s02", homework="hw1", cell="code", points=2.5)
    append(course.log_path, entry)
    assert invoke("scores", "--course", course.root).code == 0
    assert grades(course, "s02")["code"][1] == 2.5
    append(course.log_path, entry.model_copy(update={"points": None}))
    assert invoke("scores", "--course", course.root).code == 0
    assert grades(course, "s02")["code"][1] is None


def test_taking_an_override_back_leaves_a_score_that_formgrader_gave_since(course, invoke):  # noqa: F811
    where = ("--course", course.root, "--why", "w")
    invoke("override", "s01", "hw1", "why", "1", *where)
    with Book(course.gradebook_url) as book:
        book.set_manual(load_assignment(course.files("hw1")), "s01", "why", 3.5)
    invoke("override", "s01", "hw1", "why", "--withdraw", *where)
    assert grades(course)["why"][1] == 3.5


def test_whoever_handed_in_nothing_has_the_points_and_is_not_called_graded(course, invoke):  # noqa: F811
    (course.root / "students.csv").write_text("id,name\ns01,Student 01\ns02,Student 02\ns03,Student 03\n")
    said = invoke("override", "s03", "hw1", "code", "1", "--why", WHY, "--by", "leo", "--course", course.root)
    assert said.out == "s03, hw1, code: nothing -> 1 of 6 points\n"
    row = course.scores_path.read_text().splitlines()[3]
    assert row.startswith("s03,Student 03,1,15,nothing handed in,,1,")
    assert not any(waits for *_, waits in grades(course, "s03").values())
    found = json.loads(invoke("grades", "--json", "--course", course.root).out)[2]
    assert (found["points"], found["missing"][0]) == ("1", "hw1: nothing handed in")
    shown = invoke("show", "hw1", "s03", "--course", course.root).out
    assert "`code` was given 1 point by leo" in shown


def test_a_broken_file_of_extensions_is_said_before_anything_is_noted(course, invoke):  # noqa: F811
    (course.root / "extensions.yaml").write_text("s01:\n  hw1: {untill: 2026-01-01T00:00:00Z, reason: r}\n")
    words = ("override", "s01", "hw1", "train", "1", "--why", "w", "--course", course.root)
    refused(invoke(*words), "extensions.yaml, line 2", "did you mean `s01.hw1.until`?")
    assert not course.log_path.exists()


def test_a_deadline_of_no_homework_is_noted(course, invoke):  # noqa: F811
    assert "note" not in invoke("scores", "--course", course.root).err
    path = course.root / "course.yaml"
    path.write_text(path.read_text().replace("hw1: 2025", "hw01: 2025"))
    for command in ("scores", "grades"):
        said = invoke(command, "--course", course.root)
        assert "note: `due:` of course.yaml names `hw01`, and no homework is called so (there are hw1)" in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("s01", "hw1", "trian", "1"), "hw1 has no graded cell `trian`; there are code, train, why"),
        (("s01", "hw9", "train", "1"), "nothing of hw9 is graded yet"),
        (("eve", "hw1", "train", "1"), "`eve` is no student of the course"),
        (("s01", "hw1", "train", "5.1"), "`train` has 5 points; 5.1 is not between 0 and that"),
        (("s01", "hw1", "train", "-1"), "`train` has 5 points; -1 is not between 0 and that"),
        (("s01", "hw1", "train", "nan"), "`nan` is no number of points; write 0.75"),
        (("s01", "hw1", "train", "a lot"), "`a lot` is no number of points"),
        (("s01", "hw1", "train"), "say how many points"),
        (("s01", "hw1", "train", "--withdraw"), "there is no override of `train`"),
    ],
)
def test_an_override_that_cannot_be_is_refused_and_nothing_is_noted(course, invoke, words, said):  # noqa: F811
    before = dump(course.gradebook_url)
    refused(invoke("override", *words, "--why", "w", "--course", course.root), said)
    refused(invoke("override", "s01", "hw1", "train", "1", "--course", course.root), "--why")
    assert not course.log_path.exists()
    assert dump(course.gradebook_url) == before


def test_late_points_and_more_time_stand_where_nbgrader_keeps_them(course, invoke):  # noqa: F811
    with Record(course.root, "hw1") as record:
        late = (DUE["hw1"] + timedelta(days=4, hours=1)).isoformat()
        for who in ("s01", "s02"):
            record.change(who, submitted=late)
    until = (DUE["hw1"] + timedelta(days=5)).isoformat()
    (course.root / "extensions.yaml").write_text(f"s02:\n  hw1: {{until: {until}, reason: illness}}\n")
    assert invoke("scores", "--course", course.root).code == 0
    rows = course.scores_path.read_text().splitlines()
    assert rows[0].endswith(",hw1/late")
    earned = sum(float(cell[1] if cell[1] is not None else cell[0]) for cell in grades(course).values())
    assert rows[1].endswith(f",{-earned / 5:g}"), "five days, three of them free"
    assert rows[2].endswith(",0")
    submissions = dump(course.gradebook_url)["assignments"]["hw1"]["submissions"]
    assert submissions["s01"]["late"] == ["None", pytest.approx(earned / 5)]
    assert submissions["s02"]["late"] == ["5 days, 0:00:00", None]


def test_a_broken_log_stops_scores_before_anything_is_written(course, invoke):  # noqa: F811
    course.log_path.write_text('{"what": "override"}\n')
    refused(invoke("scores", "--course", course.root), str(course.log_path), "line 1")
    assert not course.scores_path.exists()
