"""What other programs take: what they exported comes back as it was but for the points, and reads as they read it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import zipfile
from fractions import Fraction
from pathlib import Path

import pytest

from autograder.authoring.release import release
from autograder.course.course import Course, init_course
from autograder.course.grades import Homework
from autograder.course.late import Late
from autograder.errors import UserError
from autograder.feedback import ByHand, Remarks
from autograder.feedback.gradescope import results_of
from autograder.homework.settings import LATER, POINTS
from autograder.judge.gradescope_run import results
from autograder.records.exports.gradebooks import canvas, moodle
from autograder.records.exports.gradescope import autograder_zip, write_results
from autograder.records.exports.pages import feedback_zip
from autograder.records.exports.tables import checks_csv, mail_csv, reports_jsonl
from autograder.records.gradebook import Book
from autograder.records.record import Record
from autograder.records.rendering import rendered
from autograder.records.settle import Desk, settle
from autograder.report import CheckResult, Report
from autograder.submission import Submission
from autograder.submissions.exports import CANVAS, MOODLE
from autograder.submissions.person import Person
from autograder.submissions.roster import Roster
from tests.autograder.course_factory import ANSWERS, NAME, Repository, answered, make_repository, to_bytes
from tests.autograder.records.test_autograded import report

PEOPLE = [
    Person(id="alice", name="Alice Archer", email="alice@uni.edu", canvas_id="101"),
    Person(id="bob", name="Bob Brown"),
    Person(id="zoe", name="Zoe Zoo"),
]
HIDDEN = CheckResult(
    id="test_y", cell="line", title="Secret slope.", public=False, points=1, fraction=0.4, outcome="partial",
    reason="wrong", message="far off", detail="expected 3",
)  # fmt: skip
WHOLE = report().model_copy(update={"checks": [*report().checks, HIDDEN]})


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return make_repository(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="module")
def course(repository: Repository) -> Course:
    """A course with one graded submission, which came from Moodle."""
    folders = {"assignments": repository.assignments, "solutions": repository.solutions}
    course, hw0 = init_course(repository.root / "course", **folders, students=PEOPLE), repository.load()
    submission = Submission.of("alice", to_bytes(answered(hw0.template)))
    with Book(course.gradebook_url) as book, Record(course.root, NAME) as record:
        book.ensure_assignment(hw0)
        record.put_homework(hw0)
        exported = "Alice Archer_7_assignsubmission_file_"
        record.change("alice", sha=submission.sha256, exported=exported)
        settle(Desk(course, hw0, book, record), rendered(hw0, WHOLE, submission), submission)
    return course


POINTS_OF = {
    "alice": Homework(Fraction(5, 2), Fraction(4), late=Late(percent=Fraction(20)), stage="graded"),
    "bob": Homework(most=Fraction(4), words="nothing handed in"),
}
CANVAS_EXPORT = """\
Student,ID,SIS User ID,SIS Login ID,Section,hw0 (555),hw1 (556),Final Score
,,,,,Manual Posting,,
    Points Possible,,,,,4,10,(read only)
"Archer, Alice",101,S1,alice@uni.edu,"A, B",,7,70
"Brown, Bob",102,S2,bob@uni.edu,A,3,,
"Stranger, Some",103,S3,s@uni.edu,A,,,
"Student, Test",104,,x,A,,,
"""


def test_canvas_gradebook_comes_back_with_one_column_filled(tmp_path: Path) -> None:
    path = tmp_path / "grades.csv"
    path.write_text("\ufeff" + CANVAS_EXPORT)
    found = canvas(path, NAME, "Doubling", POINTS_OF, Roster(PEOPLE))
    before, after = (list(csv.reader(io.StringIO(text))) for text in (path.read_text(), found.text))
    assert found.text.startswith("\ufeffStudent,ID,")
    changed = [(a, b) for old, new in zip(before, after, strict=True) for a, b in zip(old, new, strict=True) if a != b]
    assert changed == [("", "2")]  # 2.5 less a fifth
    assert after[3][:6] == ["Archer, Alice", "101", "S1", "alice@uni.edu", "A, B", "2"]
    assert (found.filled, found.missing, found.scaled) == (["alice"], [], None)
    assert found.unknown == ["Some Stranger: no student of the course is called 'some stranger'."]


def test_canvas_points_are_scaled_to_what_it_gives_at_most(tmp_path: Path) -> None:
    path = tmp_path / "grades.csv"
    path.write_text(CANVAS_EXPORT.replace("Possible,,,,,4,", "Possible,,,,,10,"))
    found = canvas(path, NAME, "Doubling", POINTS_OF, Roster(PEOPLE))
    assert (found.text.splitlines()[3].split(",")[-3], found.scaled) == ("5", 10)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("hw0 (555)", "hw9 (555)", "no column called `hw0` or `Doubling`; make the assignment in Canvas"),
        ("hw1 (556)", "hw0 (556)", "2 columns called `hw0`"),
        ("ID,SIS User", "Number,SIS User", "there is no column 'Id'"),
    ],
)
def test_a_canvas_gradebook_without_the_column_is_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = tmp_path / "grades.csv"
    path.write_text(CANVAS_EXPORT.replace(old, new))
    with pytest.raises(UserError, match=sentence):
        canvas(path, NAME, "Doubling", POINTS_OF, Roster(PEOPLE))


WORKSHEET = """\
Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,Last modified (grade),Feedback
Participant 7,Alice Archer,alice@uni.edu,Submitted for grading,,4.00,Yes,-,
Participant 8,Bob Brown,bob@uni.edu,No submission,,4.00,Yes,-,
"""


def test_moodles_worksheet_comes_back_with_the_grades_filled(tmp_path: Path) -> None:
    path = tmp_path / "worksheet.csv"
    path.write_text(WORKSHEET)
    found = moodle(path, POINTS_OF, Roster(PEOPLE))
    assert found.text == WORKSHEET.replace("grading,,4.00", "grading,2,4.00")


def test_pages_are_packed_under_the_names_by_which_course_pages_take_them_back(course: Course) -> None:
    with Record(course.root, NAME) as record:
        data, unknown = feedback_zip(course, record, "moodle")
        (name,) = zipfile.ZipFile(io.BytesIO(data)).namelist()
        assert MOODLE.fullmatch(name.partition("/")[0])["who"] == "Alice Archer"  # type: ignore[index]
        assert unknown == []
        with pytest.raises(UserError, match="no page of hw0 can be named as canvas names it"):
            feedback_zip(course, record, "canvas")
        record.change("alice", exported="archeralice_LATE_101_202_hw0-1.ipynb")
        data, _ = feedback_zip(course, record, "canvas")
        record.change("alice", exported="Alice Archer_7_assignsubmission_file_")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (name,) = archive.namelist()
        assert CANVAS.fullmatch(name).group("user", "file") == ("101", "202")  # type: ignore[union-attr]
        assert b"Alice" in archive.read(name) or b"alice" in archive.read(name)


def test_tables_have_every_check_and_everybody(course: Course) -> None:
    with Record(course.root, NAME) as record:
        checks = list(csv.DictReader(io.StringIO(checks_csv(course, record))))
        assert [(row["check"], row["earned"], row["public"]) for row in checks] == [
            ("test_x", "1.5", "yes"),
            ("test_y", "0.4", "no"),
        ]
        assert [Report.model_validate_json(line) for line in reports_jsonl(course, record).splitlines()] == [WHOLE]
        mail = {row["student"]: row for row in csv.DictReader(io.StringIO(mail_csv(course, record)))}
    assert (mail["alice"]["email"], mail["alice"]["points"], mail["alice"]["page"]) == (
        "alice@uni.edu",
        "1.9",
        "alice.html",
    )
    assert (mail["bob"]["points"], mail["bob"]["status"]) == ("", "nothing handed in")


# --- Gradescope

TEST_KEYS = {"name", "score", "max_score", "status", "output", "output_format", "visibility"}
KEYS = {"tests", "output", "visibility", "stdout_visibility", "execution_time", "score"}
SEEN = {"hidden", "after_due_date", "after_published", "visible"}


def sound(found: dict[str, object]) -> dict[str, object]:
    """What Gradescope's specification asks of results.json; the same, once through JSON."""
    found = json.loads(json.dumps(found))
    assert set(found) <= KEYS
    assert "score" in found or "tests" in found
    for test in found.get("tests", []):
        assert set(test) <= TEST_KEYS
        assert test["status"] in {"passed", "failed"}
        assert test["visibility"] in SEEN
        assert isinstance(test["score"], float)
        assert isinstance(test["max_score"], float)
    assert {found["visibility"], found["stdout_visibility"]} <= SEEN
    return found


def test_results_of_a_report_are_sound_and_add_up() -> None:
    given = Remarks(by_hand={"why": ByHand(0.75, "Good.")}, late="A day late.", percent=Fraction(10))
    found = sound(results_of(WHOLE, remarks=given))
    assert [(test["name"], test["score"]) for test in found["tests"]] == [
        ("Doubling 1 gives 2.", 1.5),
        ("Secret slope.", 0.4),
        ("Why", 0.75),
        ("Handed in late", -0.265),
    ]
    assert "expected 3" not in json.dumps(found)


def test_results_obey_what_students_may_read_when() -> None:
    found = sound(results_of(WHOLE, LATER))
    assert [test["visibility"] for test in found["tests"]] == ["visible", "after_due_date"]
    extended = sound(results_of(WHOLE, LATER, Remarks(extended=True)))
    assert [test["visibility"] for test in extended["tests"]] == ["visible", "hidden"], "Gradescope knows no extension"
    found = sound(results_of(WHOLE, POINTS))
    assert [(test["name"], test["output"]) for test in found["tests"]] == [("Double", ""), ("Line", "")]


def test_results_are_written_for_every_report(course: Course, repository: Repository, tmp_path: Path) -> None:
    with Record(course.root, NAME) as record:
        assert write_results(course, repository.load(), record, tmp_path) == 1
    sound(json.loads((tmp_path / "alice.json").read_text()))


def test_gradescopes_zip_holds_what_students_have_and_runs_the_public_checks(
    course: Course, repository: Repository, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="hw0 is not released"):
        autograder_zip(course, repository.load())
    released = release(course, NAME)
    with zipfile.ZipFile(io.BytesIO(autograder_zip(course, repository.load()))) as archive:
        archive.extractall(tmp_path / "source")
        modes = {info.filename: info.external_attr >> 16 & 0o111 for info in archive.infolist()}
    assert modes["setup.sh"] == modes["run_autograder"] == 0o111
    own = {"setup.sh", "run_autograder", "READ_ME.txt"}
    assert {path.name for path in (tmp_path / "source").iterdir()} - own == {path.name for path in released.iterdir()}
    for script in ("setup.sh", "run_autograder"):
        subprocess.run(["bash", "-n", tmp_path / "source" / script], check=True)
    (tmp_path / "submission").mkdir()
    wrong = ANSWERS | {"double-answer": "def double(x):\n    return 3 * x\n"}
    (tmp_path / "submission" / f"{NAME}.ipynb").write_bytes(to_bytes(answered(repository.load().template, wrong)))
    (tmp_path / "submission" / "checks.py").write_text("raise SystemExit")  # the student's own is not asked
    command = [sys.executable, "-m", "autograder.judge.gradescope_run", tmp_path / "source", tmp_path / "submission"]
    subprocess.run([*command, tmp_path / "results" / "results.json"], check=True, timeout=120)
    found = sound(json.loads((tmp_path / "results" / "results.json").read_text()))
    assert [(test["name"], test["status"]) for test in found["tests"]] == [
        ("Doubling 1 gives 2.", "failed"),
        ("An untrained line goes through the origin.", "passed"),
    ]


def test_a_missing_notebook_is_a_sentence_in_gradescope(course: Course, tmp_path: Path) -> None:
    release(course, NAME)
    (tmp_path / "essay.pdf").touch()
    found = sound(results(course.release_dir / NAME, tmp_path))
    assert found["score"] == 0.0
    assert str(found["output"]).startswith("There is no notebook hw0.ipynb; handed in: essay.pdf.")
