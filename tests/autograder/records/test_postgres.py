"""The gradebook on a real PostgreSQL server: `.ci/postgres` starts one and prints its URL."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.course.people import Person
from autograder.errors import UserError
from autograder.homework.assignment import Assignment
from autograder.records.gradebook import Book, Lateness, dump, shown_url
from tests.autograder.course_factory import make_repository, points_of
from tests.autograder.records.test_gradebook import report

SERVER = os.environ.get("AUTOGRADER_POSTGRES")
PASSWORD = "sesame-of-the-suite"
ROOT = Path(__file__).resolve().parents[3]
WRITER = """
import sys
from pathlib import Path
from autograder.homework.assignment import load_assignment
from autograder.homework.files import HomeworkFiles
from autograder.records.gradebook import Book
from tests.autograder.records.test_gradebook import report
root = Path(sys.argv[2])
hw0 = load_assignment(HomeworkFiles("hw0", root / "assignments", root / "solutions"))
with Book(sys.argv[1]) as book:
    print("ready", flush=True)
    for number in range(10**9):
        grade = float(number % 3)
        book.write(report("ada", min(grade, 2.0), 1.0 if grade else 0.0), hw0, {"why": "because"})
        print(number, flush=True)
"""


@pytest.fixture(scope="module")
def hw0(tmp_path_factory) -> Assignment:
    return make_repository(tmp_path_factory.mktemp("course")).load()


@pytest.fixture
def url() -> Iterator[str]:
    """An empty database."""
    if not SERVER:
        if os.environ.get("AUTOGRADER_REQUIRE_CONTAINERS") or os.environ.get("CI"):
            pytest.fail("there is no PostgreSQL server; .ci/postgres starts one")
        pytest.skip("no PostgreSQL server; AUTOGRADER_POSTGRES names one")
    from sqlalchemy import create_engine, text

    name = f"book_{os.getpid()}_{random.randrange(10**9)}"
    server = create_engine(SERVER, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield SERVER.replace("/postgres?", f"/{name}?")
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


def test_a_server_holds_the_same_as_a_file(url, hw0, tmp_path, monkeypatch):
    """Also where the program `alembic` cannot be found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    found = []
    for place in (url, f"sqlite:///{tmp_path}/gradebook.db"):
        with Book(place) as book:
            book.ensure_assignment(hw0)
            book.add_students({"ada": Person(id="ada", name="Ada Lovelace"), "bob": Person(id="bob")})
            book.write(report("ada", 2, 0.25), hw0, {"why": "because"})
            book.set_manual(hw0, "ada", "why", 0.7)
            book.decide("hw0", {"ada": {"line": 1.0}, "bob": {"double": 0.5}}, {})
            book.put_late("hw0", None, {"ada": Lateness(0.37)})
        with Book(place) as book:
            scores = [(one.student, one.name, one.cells) for one in book.read_scores("hw0", points_of(hw0))]
        found.append((dump(place), scores))
    assert found[0] == found[1]
    assert found[0][1][0][2]["line"].points == 1.0


def test_a_kill_at_any_moment_leaves_the_old_grades_or_the_new_ones(url, hw0, tmp_path):
    with Book(url) as book:
        book.ensure_assignment(hw0)
    folder = hw0.files.assignments.parent
    rng = random.Random(11)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("0"):
            pass
        for _ in range(3):
            with Book(url) as book:
                cells = book.read_scores("hw0", points_of(hw0))[0].cells
            assert (cells["double"].automatic, cells["line"].automatic) in {(0.0, 0.0), (1.0, 1.0), (2.0, 1.0)}
        time.sleep(rng.random() * 0.05)
        process.send_signal(signal.SIGKILL)
    with Book(url) as book:
        cells = book.read_scores("hw0", points_of(hw0))[0].cells
    assert (cells["double"].automatic, cells["line"].automatic) in {(0.0, 0.0), (1.0, 1.0), (2.0, 1.0)}


def test_a_wrong_password_is_said_without_it(url):
    with pytest.raises(UserError) as refused, Book(url.replace(PASSWORD, "open%20sesame")):
        pass
    assert "password authentication failed" in str(refused.value)
    assert "sesame" not in str(refused.value)
    assert "***" in str(refused.value)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("postgresql+pg8000://leo:sesame@localhost/book", ("`pg8000`", "dgm-autograder[postgres]", "leo:***@")),
        ("postgresql+psycopg://leo:sesame@/book?host=/nowhere", ("cannot be used", "leo:***@")),
        ("postgrseql://leo:sesame@localhost/book", ("cannot be used",)),
        ("leo:sesame", ("cannot be used",)),
    ],
)
def test_no_sentence_tells_the_password(place, words):
    with pytest.raises(UserError) as refused, Book(place):
        pass
    assert "sesame" not in str(refused.value)
    for word in words:
        assert word in str(refused.value)


def test_a_url_is_shown_without_its_password():
    assert shown_url("postgresql://leo:sesame@host/book") == "postgresql://leo:***@host/book"
    assert shown_url("sqlite:////srv/gradebook.db") == "/srv/gradebook.db"
