"""nbgrader's own commands and buttons on a course of ours: they grade in our sandbox, with our checks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbgrader.utils import determine_grade

from autograder.authoring.release import release
from autograder.commands import nbgrader_button
from autograder.commands.nbgrader_button import GradeInSandbox, enter_homework
from autograder.course.course import Course, init_course, load_course
from autograder.errors import Infrastructure, UserError
from autograder.records.gradebook import Book
from autograder.records.nbgrader_config import CONFIG, OLDER, configure, is_configured, mend
from autograder.records.record import Record
from autograder.submissions.person import Person
from tests.autograder.course_factory import ANSWERS, NAME, answered, make_repository, points_of, to_bytes

WRONG = ANSWERS | {"double-answer": "def double(x):\n    return 3 * x\n"}
CLASS = {"ada": ANSWERS, "bob": WRONG}


@pytest.fixture
def course(tmp_path: Path) -> Course:
    """A released homework, handed in by two, and nothing graded."""
    repository = make_repository(tmp_path)
    folders = {"assignments": repository.assignments, "solutions": repository.solutions}
    people = [Person(id=who, name=who.title()) for who in CLASS]
    course = init_course(tmp_path / "course", **folders, students=people)
    configure(course)
    release(course, NAME)
    enter_homework(course, NAME)
    for who, answers in CLASS.items():
        place = course.submitted_dir / who / NAME
        place.mkdir(parents=True)
        (place / f"{NAME}.ipynb").write_bytes(to_bytes(answered(repository.load().template, answers)))
    return course


def nbgrader(course: Course, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nbgrader", *words]
    return subprocess.run(command, cwd=cwd or course.root, capture_output=True, text=True, timeout=600)


def scores(course: Course) -> dict[str, dict[str, float | None]]:
    with Book(course.gradebook_url) as book:
        found = book.read_scores(NAME, dict.fromkeys(RIGHT, 1.0))
    return {one.student: {name: cell.automatic for name, cell in one.cells.items()} for one in found}


RIGHT = {"double": 2.0, "line": 1.0, "why": None}


@pytest.mark.container
def test_nbgrader_autograde_grades_in_our_sandbox_with_our_checks(course: Course) -> None:
    done = nbgrader(course, "autograde", NAME)
    assert done.returncode == 0, done.stderr
    assert scores(course) == {"ada": RIGHT, "bob": RIGHT | {"double": 0.0}}
    with Record(course.root, NAME) as record:
        assert [(state.who, state.sandbox) for state in record.states()] == [("ada", "docker"), ("bob", "docker")]
    assert (course.feedback_dir(NAME) / "bob.html").is_file()
    exported = nbgrader(course, "export")
    assert exported.returncode == 0, exported.stderr
    assert "bob" in (course.root / "nbgrader.csv").read_text()
    given = nbgrader(course, "generate_feedback", NAME)
    assert given.returncode == 0, given.stderr
    assert (course.root / "feedback" / "bob" / NAME / f"{NAME}.html").is_file()


@pytest.mark.container
def test_formgraders_button_grades_in_our_sandbox(course: Course, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "autograder", "formgrader", "--port", "0", "--course", str(course.root)]
    settings = {"JUPYTER_RUNTIME_DIR": str(tmp_path / "jupyter")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | settings
    ) as server:
        try:
            assert server.stdout is not None
            found = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/formgrader\?token=(\w+)\n", server.stdout.readline())
            assert found is not None

            def ask(path: str, data: bytes | None = None) -> Any:
                request = urllib.request.Request(f"{found[1]}/formgrader/api/{path}", data)
                request.add_header("Authorization", f"token {found[2]}")
                with urllib.request.urlopen(request, timeout=600) as answer:
                    return json.load(answer)

            assert [row["name"] for row in ask("assignments")] == [NAME]
            assert ask(f"submission/{NAME}/bob/autograde", b"")["success"] is True
        finally:
            server.terminate()
    assert scores(course)["bob"] == RIGHT | {"double": 0.0}


# --- the preprocessor alone


@pytest.fixture
def graded(course: Course, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Grading is played: what it leaves in the record is what the fixture says."""
    leaves: dict[str, object] = {"marks": {"double": 0.5, "line": 1.0}}

    def grade_course(loaded: Course, name: str, options: Any) -> None:
        (student,) = options.students
        with Record(loaded.root, name) as record:
            record.change(student, sha="1", report="2", **leaves)
        place = loaded.autograded_path(name, student)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not leaves.get("infrastructure"):
            place.write_bytes((loaded.submitted_dir / student / name / f"{name}.ipynb").read_bytes())

    monkeypatch.setattr(nbgrader_button, "grade_course", grade_course)
    monkeypatch.chdir(course.root)
    return leaves


def preprocessed(course: Course) -> Mapping[str, Any]:
    notebook = nbformat.read(course.submitted_dir / "bob" / NAME / f"{NAME}.ipynb", as_version=4)
    resources = {"nbgrader": {"student": "bob", "assignment": NAME, "notebook": NAME}}
    return {
        cell.metadata.nbgrader.grade_id: determine_grade(cell)[0]
        for cell in GradeInSandbox().preprocess(notebook, resources)[0].cells
        if cell.metadata.get("nbgrader", {}).get("grade")
    }


def test_the_notebook_carries_the_points_as_nbgrader_reads_them(course: Course, graded: dict[str, object]) -> None:
    assert GradeInSandbox().enabled  # nbconvert passes over one that is not, and nbgrader gives full marks
    assert preprocessed(course) == {"double": 0.5, "line": 1.0, "why": None}


def test_the_machines_failure_and_what_is_rejected_stop_nbgrader(course: Course, graded: dict[str, object]) -> None:
    graded["infrastructure"] = True
    with pytest.raises(Infrastructure, match="no points are lost"):
        preprocessed(course)
    graded |= {"infrastructure": False, "rejected": "it is empty.", "origin": "place"}
    with pytest.raises(UserError, match="hw0 of bob: not graded: it is empty"):
        preprocessed(course)


# --- its configuration


def test_a_course_gets_the_configuration_and_an_own_one_is_added_to(course: Course) -> None:
    path = course.root / CONFIG
    assert is_configured(course)
    path.write_text("c = get_config()\nc.NbGrader.logfile = 'own.log'\n")
    assert not is_configured(course)
    assert mend(course) == path
    assert is_configured(course)
    assert "own.log" in path.read_text()
    before = path.read_text()
    mend(course)
    assert path.read_text() == before
    path.write_text(f"{OLDER} and model answers to graders with it.\nc = get_config()\n")
    mend(course)
    assert path.read_text().count("get_config()") == 1
    path.write_text("1 +")
    with pytest.raises(UserError, match=rf"{CONFIG} cannot be read"):
        is_configured(course)


def test_a_gradebook_elsewhere_is_where_nbgrader_looks(course: Course) -> None:
    settings = course.root / "course.yaml"
    settings.write_text(settings.read_text().replace("sqlite:///gradebook.db", "sqlite:///other.db"))
    (course.root / CONFIG).unlink()
    configure(load_course(course.root))
    assert f'db_url = "sqlite:///{course.root.resolve()}/other.db"' in (course.root / CONFIG).read_text()


def test_generate_assignment_keeps_what_is_given_and_the_gradebooks_cells(course: Course) -> None:
    done = nbgrader(course, "generate_assignment", NAME)
    assert done.returncode == 0, done.stderr
    made = nbformat.read(course.root / "handed_out" / NAME / f"{NAME}.ipynb", as_version=4)
    released = nbformat.read(course.release_dir / NAME / f"{NAME}.ipynb", as_version=4)
    assert [cell.source for cell in made.cells] == [cell.source for cell in released.cells]
    with Book(course.gradebook_url) as book, book.transaction() as api:
        cells = {cell.name: cell.max_score for cell in api.find_notebook(NAME, NAME).grade_cells}
    assert cells == points_of(make_repository(course.root / "again").load())


def test_validate_finds_what_is_not_right(course: Course) -> None:
    """nbgrader takes a cell that raises for wrong, and every other one for right."""
    folder = course.root / "home"
    folder.mkdir()
    for path in (course.release_dir / NAME).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / f"{NAME}.ipynb").write_bytes((course.submitted_dir / "bob" / NAME / f"{NAME}.ipynb").read_bytes())
    said = nbgrader(course, "validate", f"{NAME}.ipynb", cwd=folder).stdout
    assert "VALIDATION FAILED ON 1 CELL" in said
    assert "Doubling 1 gives 2." in said
    (folder / f"{NAME}.ipynb").write_bytes((course.submitted_dir / "ada" / NAME / f"{NAME}.ipynb").read_bytes())
    assert (
        "Success! Your notebook passes all the tests."
        in nbgrader(course, "validate", f"{NAME}.ipynb", cwd=folder).stdout
    )


def test_a_downloaded_zip_is_collected_by_nbgrader_and_the_students_are_in_its_book(course: Course) -> None:
    archive = course.root / "downloaded" / NAME / "archive"
    archive.mkdir(parents=True)
    data = (course.submitted_dir / "ada" / NAME / f"{NAME}.ipynb").read_bytes()
    (archive / f"cleo_{NAME}_attempt_2025-10-01-10-00-00_{NAME}.ipynb").write_bytes(data)
    named = rf".*?(?P<student_id>[^\W_]+)_{NAME}_attempt_(?P<timestamp>[0-9\-]+)_(?P<file_id>\w+)"
    done = nbgrader(course, "zip_collect", NAME, f"--FileNameCollectorPlugin.named_regexp={named}")
    assert done.returncode == 0, done.stderr
    assert (course.submitted_dir / "cleo" / NAME / f"{NAME}.ipynb").read_bytes() == data
    listed = nbgrader(course, "db", "student", "list")
    assert "ada" in listed.stdout + listed.stderr
