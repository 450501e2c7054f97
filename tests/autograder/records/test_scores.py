"""scores.csv: every student, every cell, exact totals, and no formula."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from autograder.course.course import Course, init_course
from autograder.records.gradebook import Book
from autograder.records.record import Record
from autograder.records.scores import safe, write_scores
from autograder.submissions.person import Person
from tests.autograder.course_factory import Repository, make_repository
from tests.autograder.records.test_gradebook import report


@pytest.fixture
def course(tmp_path: Path) -> tuple[Course, Repository]:
    repository = make_repository(tmp_path)
    people = [
        Person(id="alice", name='=HYPERLINK("http://evil","x")'),
        Person(id="bob", name='Bob, "B" Ünal'),
        Person(id="eve"),
    ]
    folder = tmp_path / "course"
    course = init_course(folder, assignments=repository.assignments, solutions=repository.solutions, students=people)
    return course, repository


def test_every_student_has_a_row_with_every_cell(course: tuple[Course, Repository]) -> None:
    folder, repository = course
    hw0 = repository.load()
    with Book(folder.gradebook_url) as book:
        book.ensure_assignment(hw0)
        book.write(report("alice", 0.1, 0.2), hw0, {"why": "because"})
        book.write(report("bob", 2, 1), hw0, {"why": "because"})
        book.set_manual(hw0, "bob", "why", 0.7)
        book.write(report("zoe", 0.7, 0.1), hw0, {}, person=Person(id="zoe", name="Zoe Z"))
    with Record(folder.root, hw0.name) as record:
        record.put_homework(hw0)
        for who in ("alice", "bob", "zoe"):
            record.change(who, report="-")
        record.rejected("eve", "the file is empty", "collecting")
        path = write_scores(folder, record)
    rows = list(csv.reader(path.open(encoding="utf-8")))
    assert rows == [
        ["student", "name", "total", "max", "status", "needs_manual", "hw0/double", "hw0/line", "hw0/why"],
        ["alice", '\'=HYPERLINK("http://evil","x")', "0.3", "4", "waits for a human", "why", "0.1", "0.2", "0"],
        ["bob", 'Bob, "B" Ünal', "3.7", "4", "graded", "", "2", "1", "0.7"],
        ["eve", "", "", "4", "not graded: the file is empty", "", "", "", ""],
        ["zoe", "Zoe Z", "0.8", "4", "graded", "", "0.7", "0.1", "0"],
    ]


@pytest.mark.parametrize(
    "text", ["=cmd()", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", "  =1", "\u00a0=1", "\ufeff=1", "＝1"]
)
def test_no_text_begins_a_formula(text: str) -> None:
    assert safe(text).startswith("'")
    assert safe(text).replace("'", "") == text
    assert safe("a" + text).replace("'", "") == "a" + text


@pytest.mark.parametrize("mark", [";", ",", "\t", "|", '"', "; ", '";'])
def test_no_part_of_a_row_begins_a_formula_however_it_is_split(mark: str) -> None:
    for part in re.split(r"[;,|\t\"]", safe(f"file `a{mark}=cmd()` is empty")):
        assert not part.strip().startswith("=")
