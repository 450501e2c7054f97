"""The gradebook: nbgrader's own reader is the oracle; a kill at any moment leaves the old grades or the new ones."""

from __future__ import annotations

import multiprocessing
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from autograder.errors import UserError
from autograder.homework.assignment import Assignment
from autograder.records.gradebook import Book, dump
from autograder.report import CellResult, Environment, Report
from autograder.submissions.person import Person
from tests.autograder.course_factory import SOLUTION, Repository, make_repository, points_of

ANSWERS = {"why": "A parabola has one lowest point."}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return make_repository(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="module")
def hw0(repository: Repository) -> Assignment:
    return repository.load()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/gradebook.db"


@pytest.fixture
def book(url: str, hw0: Assignment) -> Iterator[Book]:
    with Book(url) as book:
        book.ensure_assignment(hw0)
        yield book


def report(student: str, double: float | None, line: float | None) -> Report:
    return Report(
        assignment="hw0",
        student=student,
        submission_sha256="0",
        basis="0",
        environment=Environment(sandbox="process", image=None, device="cpu", versions={}, limits={}, seed=0),
        checks=[],
        cells=[
            CellResult(cell="double", title="Double", max_points=2, manual=False, earned=double),
            CellResult(cell="line", title="Line", max_points=1, manual=False, earned=line),
            CellResult(cell="why", title="Why", max_points=1, manual=True, earned=None),
        ],
        runs=[],
        notes=[],
        started="2025-10-01T00:00:00Z",
        timings={},
    )


def grades(url: str, student: str = "alice") -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = dump(url)["assignments"]["hw0"]["submissions"][student]["grades"]
    return found


def test_nbgrader_reads_the_scores_that_were_written(book: Book, url: str, hw0: Assignment) -> None:
    from nbgrader.api import Gradebook

    book.write(report("alice", 1.5, 0.4), hw0, ANSWERS, person=Person(id="alice", name="Alice B. Archer"))
    with Gradebook(url) as oracle:
        submission = oracle.find_submission("hw0", "alice")
        assert (submission.score, submission.max_score) == (1.9, 4.0)
        assert (submission.code_score, submission.written_score) == (1.9, 0.0)
        assert submission.needs_manual_grade
        assert (submission.student.first_name, submission.student.last_name) == ("Alice B.", "Archer")
        assert oracle.find_grade("line", "hw0", "hw0", "alice").auto_score == 0.4
        assert oracle.find_source_cell("double", "hw0", "hw0").source == 'check("double")'


def test_a_new_gradebook_has_the_version_nbgrader_would_give_it(book: Book, url: str, tmp_path: Path) -> None:
    (version,) = (
        sqlite3.connect(tmp_path / "gradebook.db").execute("SELECT version_num FROM alembic_version").fetchone()
    )
    heads = subprocess.run(
        [sys.executable, "-c", "from nbgrader.api import get_alembic_version as v; print(v())"],
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert version == heads.stdout.strip()
    assert [path.name for path in tmp_path.iterdir()] == ["gradebook.db"]


def test_the_cells_are_those_nbgraders_own_preprocessor_records(hw0: Assignment, url: str, tmp_path: Path) -> None:
    import copy

    from nbgrader.api import Gradebook
    from nbgrader.preprocessors import SaveCells

    other = f"sqlite:///{tmp_path}/oracle.db"
    with Book(url) as book:
        book.ensure_assignment(hw0)
    Book(other).close()
    with Gradebook(other) as oracle:
        oracle.add_assignment("hw0")
    resources = {"nbgrader": {"notebook": "hw0", "assignment": "hw0", "db_url": other}}
    SaveCells().preprocess(copy.deepcopy(hw0.template), resources)
    assert dump(url) == dump(other)


def test_writing_the_same_report_twice_changes_nothing(book: Book, url: str, hw0: Assignment) -> None:
    when = datetime(2025, 10, 1, 12, tzinfo=UTC)
    book.write(report("alice", 1.5, 0.4), hw0, ANSWERS, submitted=when)
    before = dump(url)
    book.ensure_assignment(hw0)
    book.write(report("alice", 1.5, 0.4), hw0, ANSWERS, submitted=when)
    assert dump(url) == before
    assert before["assignments"]["hw0"]["submissions"]["alice"]["timestamp"] == "2025-10-01 12:00:00"


def test_a_human_score_survives_grading_again(book: Book, url: str, hw0: Assignment) -> None:
    book.write(report("alice", 1.5, 0.4), hw0, ANSWERS)
    assert grades(url)["why"] == [None, None, None, True]
    book.set_manual(hw0, "alice", "why", 0.75)
    book.set_manual(hw0, "alice", "line", 1.0)
    book.write(report("alice", 2.0, 0.4), hw0, ANSWERS)
    assert grades(url) == {
        "double": [2.0, None, None, False],
        "line": [0.4, 1.0, None, False],
        "why": [None, 0.75, None, False],
    }
    (score,) = book.read_scores(hw0.name, points_of(hw0))
    assert {name: cell.points for name, cell in score.cells.items()} == {"double": 2.0, "line": 1.0, "why": 0.75}


def test_a_human_looks_again_when_what_was_scored_has_changed(book: Book, url: str, hw0: Assignment) -> None:
    book.write(report("alice", 1.5, 0.4), hw0, ANSWERS)
    book.set_manual(hw0, "alice", "why", 0.75)
    book.set_manual(hw0, "alice", "line", 1.0)
    book.write(report("alice", 1.5, 0.9), hw0, ANSWERS, changed=frozenset({"why"}))
    assert grades(url)["line"] == [0.9, 1.0, None, True]
    assert grades(url)["why"] == [None, 0.75, None, True]


def test_a_blank_theory_cell_is_worth_nothing_and_waits_for_nobody(book: Book, url: str, hw0: Assignment) -> None:
    book.write(report("alice", 0.0, 0.0), hw0, {"why": " \n"})
    assert grades(url)["why"] == [0.0, None, None, False]
    assert dump(url)["assignments"]["hw0"]["submissions"]["alice"]["comments"]["why"] == ["No response.", None]


def test_infrastructure_trouble_leaves_the_old_grade(book: Book, url: str, hw0: Assignment) -> None:
    book.write(report("alice", 1.5, 0.4), hw0, ANSWERS)
    book.write(report("alice", None, 0.5), hw0, ANSWERS)
    assert grades(url)["double"] == [1.5, None, None, False]
    assert grades(url)["line"] == [0.5, None, None, False]
    book.write(report("bob", None, 0.5), hw0, ANSWERS)
    assert grades(url, "bob")["double"] == [None, None, None, True]


def test_a_failure_half_way_leaves_everything_as_it_was(book: Book, url: str, hw0: Assignment) -> None:
    book.write(report("alice", 1.5, 0.4), hw0, ANSWERS)
    before = dump(url)
    broken = report("alice", 2.0, 1.0)
    broken.cells.append(CellResult(cell="nowhere", title="", max_points=1, manual=False, earned=1))
    with pytest.raises(Exception, match="nowhere"):
        book.write(broken, hw0, ANSWERS)
    with pytest.raises(Exception, match="nowhere"):
        book.write(broken.model_copy(update={"student": "eve"}), hw0, ANSWERS)
    assert dump(url) == before


def test_a_cell_added_later_gets_a_place_in_every_submission(
    tmp_path: Path, book: Book, url: str, hw0: Assignment
) -> None:
    book.write(report("alice", 1.5, 0.4), hw0, ANSWERS)
    later = make_repository(tmp_path / "later")
    extra = '\n# %% [markdown] nbgrader={"grade": true, "solution": true, "grade_id": "more", "points": 1}\n# More?\n'
    from autograder.authoring.template import write_template

    (later.solutions / "hw0/hw0.py").write_text(SOLUTION + extra)
    write_template(later.files)
    yaml = later.assignments / "hw0/assignment.yaml"
    yaml.write_text(yaml.read_text().replace("points: 4", "points: 5"))
    book.ensure_assignment(later.load())
    assert grades(url)["more"] == [None, None, None, True]
    assert grades(url)["double"] == [1.5, None, None, False]
    book.ensure_assignment(hw0)
    assert set(grades(url)) == {"double", "line", "why"}
    book.ensure_assignment(later.load())
    book.set_manual(later.load(), "alice", "more", 1)
    with pytest.raises(UserError, match="a human's score for `more` of alice"):
        book.ensure_assignment(hw0)
    assert grades(url)["more"] == [None, 1.0, None, False]


def test_a_gradebook_another_program_holds_is_a_sentence_after_the_wait(
    url: str, hw0: Assignment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autograder.records.gradebook.database.WAIT_SECONDS", 0.3)
    Book(url).close()
    with sqlite3.connect(tmp_path / "gradebook.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match=r"gradebook.db is in use by another program and stayed locked for 0\.3 s"):
            Book(url).ensure_assignment(hw0)
        other.execute("ROLLBACK")
    with Book(url) as book:
        book.ensure_assignment(hw0)


def test_a_lock_that_is_released_in_time_is_waited_for(book: Book, url: str, hw0: Assignment, tmp_path: Path) -> None:
    script = "import sqlite3, time; c = sqlite3.connect('gradebook.db', isolation_level=None); "
    script += "c.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); time.sleep(1); c.execute('ROLLBACK')"
    with subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        book.write(report("alice", 1.5, 0.4), hw0, ANSWERS)
    assert grades(url)["double"][0] == 1.5


def test_a_gradebook_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "gradebook.db").write_bytes(b"not a database" * 100)
    with pytest.raises(UserError, match="cannot be used: file is not a database"):
        Book(f"sqlite:///{tmp_path}/gradebook.db")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used"):
        Book(f"sqlite:///{tmp_path}/file/gradebook.db")


def test_four_graders_at_once_lose_nothing(book: Book, url: str, hw0: Assignment) -> None:
    writers = [start(hw0, url, first, 3)[0] for first in range(0, 12, 3)]
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert {score.student: score.cells["double"].points for score in book.read_scores(hw0.name, points_of(hw0))} == {
        f"s{number:02}": number / 8 for number in range(12)
    }


def test_killing_the_grader_at_any_moment_ends_in_the_undisturbed_gradebook(tmp_path: Path, hw0: Assignment) -> None:
    calm, stormy = f"sqlite:///{tmp_path}/calm.db", f"sqlite:///{tmp_path}/stormy.db"
    write_many(hw0, calm, 0, 12)
    whole = dump(calm)["assignments"]["hw0"]["submissions"]
    chance = random.Random(0)
    kills = partial = 0
    while kills < 25:
        writer, steps = start(hw0, stormy, 0, 12)
        for _ in range(chance.choice([0, 0, 1, 2, 4, 8])):
            steps.recv()
        time.sleep(chance.random() * 0.02)
        kills += writer.exitcode is None
        writer.kill()
        writer.join()
        if (tmp_path / "stormy.db").exists():
            found = dump(stormy)["assignments"].get("hw0", {"submissions": {}})["submissions"]
            partial += 0 < len(found) < 12
            assert all(found[student] == whole[student] for student in found)
    write_many(hw0, stormy, 0, 12)
    assert dump(stormy) == dump(calm)
    assert partial > 0
    left = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert left == ["calm.db", "stormy.db"]


def start(hw0: Assignment, url: str, first: int, count: int) -> tuple[BaseProcess, Connection]:
    """A grader in a process of its own, which sends something before each step."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    writer = context.Process(target=write_many, args=(hw0, url, first, count, there))
    writer.start()
    there.close()
    return writer, here


def write_many(hw0: Assignment, url: str, first: int, count: int, steps: Connection | None = None) -> None:
    with Book(url) as book:
        book.ensure_assignment(hw0)
        for number in range(first, first + count):
            if steps is not None:
                steps.send(number)
            answers = ANSWERS if number % 2 else {"why": ""}
            person = Person(id="x", name=f"N {number}")
            book.write(report(f"s{number:02}", number / 8, 0.5), hw0, answers, person=person)


def test_an_empty_file_in_the_gradebooks_place_is_made_one(tmp_path):
    url = f"sqlite:///{tmp_path}/gradebook.db"
    (tmp_path / "gradebook.db").touch()
    Book(url).close()
    with closing(sqlite3.connect(tmp_path / "gradebook.db")) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


def test_a_gradebook_of_another_version_is_refused_with_what_helps(tmp_path):
    url = f"sqlite:///{tmp_path}/gradebook.db"
    Book(url).close()
    with closing(sqlite3.connect(tmp_path / "gradebook.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '167914646830'")
    with pytest.raises(UserError, match="made by another version of nbgrader; run `nbgrader db upgrade`"):
        Book(url)
