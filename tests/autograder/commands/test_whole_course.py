"""A made-up course of six homeworks, sixty students and an exam, run by the real commands from homeworks to grades.

The second homework is Moodle's from its release to the points that Moodle takes back; a student who has more time than
the others keeps its hidden checks closed for all, until that time is taken back.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import zipfile
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from nbgrader.apps import nbgraderapp

from autograder import cli
from autograder.course.course import Course, load_course
from autograder.homework.assignment import load_assignment
from autograder.homework.settings import LATER
from autograder.records.gradebook import Book
from tests.autograder.commands.saying import Said, forked
from tests.autograder.feedback.test_browser import pytestmark as chromium
from tests.autograder.feedback.test_phone import assert_have_room
from tests.autograder.made_up_course import (
    DUE,
    HOMEWORKS,
    RULES,
    STUDENTS,
    by_hand,
    days_late,
    earned,
    hand_in_and_settle,
    handed_in,
    moodles_export,
    name_of,
    write_homeworks,
)

COLLECTED = "hw2"  # by the commands
EXTENSIONS = "s07:\n  hw2: {until: 2025-10-06T21:00:00+00:00, reason: illness}\n"
MORE_TIME = "s09:\n  hw2: {until: 2999-01-01T00:00:00+00:00, reason: a year abroad}\n"


def autograder(course: Course, *words: str) -> Said:
    """A command as its entry point runs it, in the course folder."""
    return forked(course.root, cli.main, "autograder", *words)


def nbgrader(course: Course, *words: str) -> Said:
    """A command of nbgrader's, likewise."""
    return forked(course.root, nbgraderapp.main, "nbgrader", *words)


def started(folder: Path, *words: str) -> Said:
    """A command in an interpreter of its own, as a shell starts it."""
    ran = subprocess.run(
        [sys.executable, "-m", "autograder", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3]), "COLUMNS": "120"},
    )
    return Said(code=ran.returncode, out=ran.stdout, err=ran.stderr)


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Course:
    """From `init` to the sixth homework, graded and read by a human.

    Submissions are not run. Of the second homework the reports lie there as a grader leaves them that was killed right
    after the last, and the commands do the rest; the others, which would take as long each, are settled here.
    """
    folder = tmp_path_factory.mktemp("six")
    write_homeworks(folder)
    config = folder / "assignments" / COLLECTED / "assignment.yaml"
    config.write_text(f"{config.read_text()}feedback: {LATER}\n")
    made = started(folder, "init", "course")
    assert (made.code, made.err) == (0, "")
    root = folder / "course"
    rows = [f"{who},{name_of(who)},{who}@uni.edu,{n}" for n, who in enumerate(STUDENTS, 101)]
    (root / "students.csv").write_text("\n".join(["id,name,email,canvas_id", *rows]))
    settings = {"due": DUE, "policy": "aimasters-2025", **RULES}
    (root / "course.yaml").write_text((root / "course.yaml").read_text() + yaml.safe_dump(settings))
    course = load_course(root)
    for number, name in enumerate(HOMEWORKS, 1):
        if name == COLLECTED:
            release_collect_and_grade(course, number)
        else:
            hand_in_and_settle(course, name, number)
    return course


def release_collect_and_grade(course: Course, number: int) -> None:
    """A homework by the commands."""
    given = autograder(course, "release", COLLECTED)
    assert (given.code, Path(given.out.strip()).name) == (0, COLLECTED), given
    export, worksheet = moodles_export(course, COLLECTED, number)
    said = autograder(course, "collect", COLLECTED, str(export), "--times", str(worksheet))
    assert said.code == 1
    assert f"60 submissions of {COLLECTED} lie under" in said.err
    assert "Rejected: `Some Stranger_900`: no student of the course is called" in said.err
    where = ("--sandbox", "process", "--no-walls-as-root", "--jobs", "1")
    said = started(course.root, "grade", COLLECTED, *where)
    assert "60 of them are unchanged and were not run again" in said.out, said
    with Book(course.gradebook_url) as book:  # as formgrader does
        assignment = load_assignment(course.files(COLLECTED))
        for position, who in enumerate(STUDENTS, 1):
            book.set_manual(assignment, who, "why", by_hand(position, number))


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
    (course.root / "extensions.yaml").write_text(EXTENSIONS + MORE_TIME)
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


@pytest.fixture(scope="module")
def scored(graded) -> list[float]:
    """Points of the second homework, as `scores.csv` has them."""
    course, _, _ = graded
    with course.scores_path.open() as file:
        rows = list(csv.DictReader(file))
    return [sum(float(row[f"hw2/{cell}"]) for cell in ("code", "train", "why", "late")) for row in rows]


def test_moodle_and_canvas_take_back_the_points_of_scores(graded, scored):
    course, _, _ = graded
    worksheet, gradebook = course.root.parent / "worksheet.csv", course.root.parent / "canvas.csv"
    rows = [f'"{", ".join(reversed(name_of(who).split()))}",{n},,{who},A,,' for n, who in enumerate(STUDENTS, 101)]
    head = ["Student,ID,SIS User ID,SIS Login ID,Section,hw1 (555),hw2 (556)", "    Points Possible,,,,,15,15"]
    gradebook.write_text("\n".join([*head, *rows]) + "\n")
    for kind, given, column, first in (("moodle", worksheet, 4, 1), ("canvas", gradebook, 6, 2)):
        said = autograder(course, "export", kind, "hw2", str(given))
        assert (said.code, said.err) == (0, "Points of 60 students.\n")
        with given.open() as old, (course.root / "exports" / f"hw2-{kind}.csv").open() as file:
            before, after = list(csv.reader(old)), list(csv.reader(file))
        assert [float(row[column]) for row in after[first:]] == pytest.approx(scored)
        assert [row[:column] + row[column + 1 :] for row in after] == [
            row[:column] + row[column + 1 :] for row in before
        ]


def test_what_else_is_exported_has_everybody(graded, scored):
    course, _, _ = graded
    exports = course.root / "exports"
    assert autograder(course, "export", "mail", "hw2").code == 0
    with (exports / "hw2-mail.csv").open() as file:
        assert [float(row["points"]) for row in csv.DictReader(file)] == pytest.approx(scored)
    assert autograder(course, "export", "csv", "hw1").code == 0
    assert len((exports / "hw1-checks.csv").read_text().splitlines()) == 1 + 2 * 60
    assert autograder(course, "export", "jsonl", "hw2").code == 0
    reports = [json.loads(line) for line in (exports / "hw2.jsonl").read_text().splitlines()]
    assert [report["student"] for report in reports] == STUDENTS
    assert autograder(course, "export", "feedback", "hw2", "--names", "moodle").code == 0
    with zipfile.ZipFile(exports / "hw2-feedback-moodle.zip") as packed:
        named = {f"{name_of(who)}_{n}_assignsubmission_file_/feedback.html" for n, who in enumerate(STUDENTS, 701)}
        assert set(packed.namelist()) == named
    assert autograder(course, "export", "gradescope", "hw2", "--zip").code == 0
    with zipfile.ZipFile(exports / "hw2-gradescope.zip") as packed:
        texts = b"".join(packed.read(name) for name in packed.namelist() if not name.endswith(".whl"))
    assert b"The code is right." in texts
    assert b"The train is right." not in texts


def test_nbgraders_own_export_leaves_the_grades_alone(graded):
    course, _, _ = graded
    before = course.grades_path.read_bytes()
    assert nbgrader(course, "export").code == 0
    assert course.grades_path.read_bytes() == before
    with (course.root / "nbgrader.csv").open() as file:
        rows = {(row["assignment"], row["student_id"]): row for row in csv.DictReader(file)}
    assert len({who for _, who in rows}) == 60
    assert float(rows["hw4", "s14"]["late_submission_penalty"]) == 1.3


def test_who_shares_code_is_first_of_the_list(graded):
    course, _, _ = graded
    said = autograder(course, "similar", "hw2")
    assert re.fullmatch(r" *\d+ %  s21 and s22\n", said.out), said


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


def test_show_says_when_something_came_and_what_an_extension_made_of_it(graded):
    course, _, _ = graded
    said = autograder(course, "show", "hw2", "s07")
    assert said.code == 0
    assert "handed in: 1 October 2025, 18:00 UTC (the course page's report)" in said.out
    assert "known: by full name" in said.out
    assert "handed in late" not in said.out
    assert "in time (extension until 2025-10-06" in " ".join(said.out.split())


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
    suspects = page[page.index("Checks to look at") : page.index("<h2>Homeworks</h2>")]
    assert re.findall(r"hw\d, The \w+|\d+ of \d+", suspects) == ["hw6, The code", "30 of 54"]
    assert page.count("9 min 24 s") == 3, "60 times what one report says its student's code took"


def test_an_override_stays_until_it_is_taken_back(graded):
    course, grades, _ = graded
    given = autograder(course, "override", "s06", "hw2", "train", "0.5", "--why", "copied")
    assert given.out == "s06, hw2, train: 5 -> 0.5 of 5 points\n"
    back = autograder(course, "override", "s06", "hw2", "train", "--withdraw", "--why", "it was not")
    assert back.out == "s06, hw2, train: 0.5 -> 5 of 5 points\n"
    after = json.loads(autograder(course, "grades", "--json").out)
    assert float(Fraction(after[5]["points"])) == float(grades["s06"]["points"])


def test_hidden_checks_stay_closed_for_all_while_one_has_more_time_and_open_after_it(graded):
    course, _, _ = graded

    def read() -> list[object]:
        """What a student of them all may see of a hidden check: on the page, at Gradescope, in nbgrader's feedback."""
        title = "The train is right."
        page = (course.feedback_dir("hw2") / "s01.html").read_text()
        assert "The code is right." in page
        assert autograder(course, "export", "gradescope", "hw2").code == 0
        tests = json.loads((course.root / "exports" / "hw2-gradescope" / "s01.json").read_text())["tests"]
        nbgraders = nbgrader(course, "generate_feedback", "hw2", "--student", "s01", "--force")
        made = course.root / "feedback" / "s01" / "hw2" / "hw2.html"
        assert made.exists() == (nbgraders.code == 0), nbgraders
        return [
            title in page,
            next(test["visibility"] for test in tests if test["name"] == title),
            made.exists() and title in made.read_text(),
        ]

    assert read() == [False, "hidden", False]
    (course.root / "extensions.yaml").write_text(EXTENSIONS)
    assert autograder(course, "scores").code == 0
    assert read() == [True, "visible", True]


def test_what_was_turned_away_is_so_in_every_place_and_has_a_page(graded):
    course, _, _ = graded
    broken = course.root.parent / "s10.ipynb"
    broken.write_text("")
    collected = autograder(course, "collect", "hw4", str(broken))
    assert collected.code == 1
    said = [autograder(course, *words) for words in (("scores",), ("grades",), ("show", "hw4", "s10"), ("show", "hw4"))]
    assert [one.code for one in said] == [0, 0, 0, 0]
    pages = [course.feedback_dir("hw4") / "s10.html", course.feedback_dir("hw4") / "class.html"]
    tables = [course.scores_path, course.grades_path]
    rows = [next(row for row in path.read_text().splitlines() if row.startswith("s10,")) for path in tables]
    told = [collected.err, said[2].out, said[3].out, *rows, *(page.read_text() for page in pages)]
    assert ["is empty" in text for text in told] == [True] * 7


@chromium
def test_every_word_of_every_kind_of_page_stands_inside_the_window(graded, tmp_path):
    course, _, _ = graded
    pages = ("course/class", "course/s14", "hw2/s07", "hw2/class", "hw4/s10")
    texts = {page.replace("/", "-"): (course.root / "feedback" / f"{page}.html").read_text() for page in pages}
    assert_have_room(texts, tmp_path)
