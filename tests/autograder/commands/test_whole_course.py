"""A made-up course of six homeworks, sixty students and an exam, run by the real commands from homeworks to grades."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from autograder.course.course import Course
from tests.autograder.commands.saying import Said
from tests.autograder.made_up_course import HOMEWORKS, STUDENTS, by_hand, days_late, earned, handed_in, make_course


def autograder(course: Course, *words: str) -> Said:
    """A real command in a process of its own, started in the course folder."""
    ran = subprocess.run(
        [sys.executable, "-m", "autograder", *words],
        cwd=course.root,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3]), "COLUMNS": "120"},
    )
    return Said(code=ran.returncode, out=ran.stdout, err=ran.stderr)


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Course:
    return make_course(tmp_path_factory.mktemp("six"))


@pytest.fixture(scope="module")
def graded(course) -> tuple[Course, dict[str, dict[str, str]], dict[str, Said]]:
    """The course after the exam, an override, an extension and `grades`: its grades by student, what was said."""
    said: dict[str, Said] = {}
    said["init"] = autograder(course, "exam", "init")
    said["draw"] = autograder(course, "exam", "draw")
    sheet = course.root / "exam" / "exam.csv"
    with sheet.open() as file:
        drawn = list(csv.DictReader(file))
    rows = ["student;points"] + [f"{row['student']};{exam(n)}".replace(".", ",") for n, row in enumerate(drawn, 1)]
    marks = course.root.parent / "exam.csv"
    marks.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    said["dry"] = autograder(course, "marks", "import", str(marks), "--dry-run")
    said["import"] = autograder(course, "marks", "import", str(marks), "--by", "kate")
    said["override"] = autograder(
        course, "override", "s05", "hw1", "code", "6", "--why", "The check was wrong.", "--by", "leo"
    )
    (course.root / "extensions.yaml").write_text("s07:\n  hw2: {until: 2025-10-06T21:00:00+00:00, reason: illness}\n")
    said["grades"] = autograder(course, "grades")
    said["scores"] = autograder(course, "scores")
    said["log"] = autograder(course, "log")
    with course.grades_path.open() as file:
        return course, {row["student"]: row for row in csv.DictReader(file)}, said


def exam(student: int) -> float:
    """Points of the exam, by the place in the list."""
    return (student * 7 % 61) / 2


def homework_points(student: int) -> Fraction:
    """Of all homeworks, worked out by hand: 15 points each, three free days, 10 % a day."""
    total, bank = Fraction(0), 3
    for homework in range(1, 7):
        if not handed_in(student, homework):
            continue
        cells = earned(student, homework)
        points = (
            Fraction(str(cells["code"])) + Fraction(str(cells["train"])) + Fraction(str(by_hand(student, homework)))
        )
        if (student, homework) == (5, 1):
            points += 6 - Fraction(str(cells["code"]))  # the override
        late = days_late(student, homework)
        if (student, homework) == (7, 2):
            late = 0  # the extension
        free = min(late, bank)
        bank -= free
        total += points * (1 - Fraction(late - free, 10))
    return total


def test_every_grade_is_the_one_worked_out_by_hand(graded):
    _, grades, said = graded
    assert {name: (one.code, one.err) for name, one in said.items() if one.code} == {}
    assert list(grades) == STUDENTS
    for number, who in enumerate(STUDENTS, 1):
        points = homework_points(number) + Fraction(str(exam(number)))
        assert float(grades[who]["points"]) == pytest.approx(float(points), abs=1e-9), who
        assert grades[who]["grade"] == str(min(points // 10, 10)), who


def test_free_days_and_an_extension_were_used_where_they_should(graded):
    course, _, _ = graded
    with course.scores_path.open() as file:
        scores = {row["student"]: row for row in csv.DictReader(file)}
    assert [scores["s14"][f"{name}/late"] for name in HOMEWORKS[:4]] == ["0", "0", "0", "-1.3"]
    assert scores["s07"]["hw2/late"] == "0"
    assert scores["s10"]["hw4/late"] == ""


def test_nbgraders_own_export_has_the_late_penalties(graded):
    from nbgrader.api import Gradebook

    course, _, _ = graded
    with Gradebook(course.gradebook_url) as book:
        mine = book.find_submission("hw4", "s14")
        assert mine.late_submission_penalty == 1.3
        assert mine.total_seconds_late == 45 * 3600
        assert book.find_submission("hw2", "s07").total_seconds_late == 0


def test_the_draw_is_the_same_again_and_no_neighbours_share_a_question(graded):
    course, _, _ = graded
    with (course.root / "exam" / "exam.csv").open() as file:
        rows = list(csv.DictReader(file))
    asked = [{row["question_1"], row["question_2"]} for row in rows]
    assert [row["student"] for row in rows] == STUDENTS
    assert all(len(mine) == 2 for mine in asked)
    assert all(not a & b for a, b in pairwise(asked))
    again = autograder(course, "exam", "draw")
    assert (again.code, "is there already" in again.err) == (2, True)
    (course.root / "exam" / "exam.csv").rename(course.root / "exam" / "old.csv")
    assert autograder(course, "exam", "draw").code == 0
    assert (course.root / "exam" / "exam.csv").read_text() == (course.root / "exam" / "old.csv").read_text()
    assert (course.root / "exam" / "exam.html").read_text().count('class="card"') == 60


def test_the_dry_run_says_what_changes_and_writes_nothing(graded):
    _, _, said = graded
    assert said["dry"].out.splitlines()[0] == "s01: none -> 3.5"
    assert "60 marks of exam: 60 changes" in said["dry"].err
    assert "nothing was written" in said["dry"].err
    assert said["import"].out == said["dry"].out


def test_the_log_tells_who_decided_what_and_why(graded):
    _, _, said = graded
    assert re.search(r"kate: 60 marks of exam", said["log"].out)
    assert re.search(r"leo: s05 hw1 code: 6 points \(The check was wrong\.\)", said["log"].out)


def test_a_students_page_shows_the_formula_with_the_numbers_put_in(graded):
    course, _, _ = graded
    page = (course.root / "feedback" / "course" / "s05.html").read_text()
    homework, mine = homework_points(5), Fraction(str(exam(5)))
    assert f"points = homework + exam = {float(homework):g} + {float(mine):g} = {float(homework + mine):g}" in page
    assert "The check was wrong." in page
    assert "leo" not in page
    late = (course.root / "feedback" / "course" / "s14.html").read_text()
    assert "2 days after the deadline, 1 of them free: 10 % of the points are taken off." in late


def test_who_stopped_half_way_is_told_what_is_missing(graded):
    course, grades, _ = graded
    assert grades["s10"]["missing"].startswith("hw4: nothing handed in; hw5: nothing handed in")
    page = (course.root / "feedback" / "course" / "class.html").read_text()
    assert page.count("hw4: nothing handed in") == 6


def test_the_class_page_has_every_homework_with_its_tasks_and_checks(graded):
    course, _, _ = graded
    page = (course.root / "feedback" / "course" / "class.html").read_text()
    assert all(f'id="{name}"' in page for name in HOMEWORKS)
    assert page.count("<code>train</code>") == 6
    assert page.count("32 partly, 7 not right yet") == 3


def test_an_override_stays_until_it_is_taken_back(graded):
    course, _, _ = graded
    autograder(course, "override", "s06", "hw2", "train", "0.5", "--why", "copied")
    before = json.loads(autograder(course, "grades", "--json").out)
    back = autograder(course, "override", "s06", "hw2", "train", "--withdraw", "--why", "it was not")
    assert back.out == "s06, hw2, train: 0.5 -> 5 of 5 points\n"
    after = json.loads(autograder(course, "grades", "--json").out)
    assert Fraction(after[5]["points"]) - Fraction(before[5]["points"]) == Fraction(9, 2)
