"""A made-up course of six homeworks, sixty students and an exam, run by the real commands from homeworks to grades."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import zipfile
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from autograder.course.course import Course, load_course
from autograder.homework.assignment import load_assignment
from autograder.records.gradebook import Book
from autograder.submission import Submission
from tests.autograder.commands.saying import Said
from tests.autograder.course_factory import answered, to_bytes
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
    made_report,
    write_homeworks,
)

COLLECTED = "hw2"  # by the commands


def autograder(course: Course, *words: str) -> Said:
    """A real command in a process of its own, started in the course folder."""
    return in_folder(course.root, *words)


def in_folder(folder: Path, *words: str) -> Said:
    """The same in any folder."""
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
    made = in_folder(folder, "init", "course")
    assert (made.code, made.err) == (0, "")
    root = folder / "course"
    rows = [f"{who},Student {who[1:]},{who}@uni.edu,{n}" for n, who in enumerate(STUDENTS, 101)]
    (root / "students.csv").write_text("\n".join(["id,name,email,canvas_id", *rows]))
    settings = {"due": DUE, "policy": "aimasters-2025", **RULES}
    (root / "course.yaml").write_text((root / "course.yaml").read_text() + yaml.safe_dump(settings))
    course = load_course(root)
    for number, name in enumerate(HOMEWORKS, 1):
        if name == COLLECTED:
            collect_and_grade(course, number)
        else:
            hand_in_and_settle(course, name, number)
    return course


def collect_and_grade(course: Course, number: int) -> None:
    """A homework by the commands."""
    export, times = handed_in_files(course, COLLECTED, number)
    where = ("--times", str(times), "--sandbox", "process", "--no-walls-as-root", "--jobs", "1")
    said = autograder(course, "grade", COLLECTED, str(export), *where)
    assert said.code == 0, said
    assert "60 of them are unchanged and were not run again" in said.out
    with Book(course.gradebook_url) as book:
        assignment = load_assignment(course.files(COLLECTED))
        for position, who in enumerate(STUDENTS, 1):
            book.set_manual(assignment, who, "why", by_hand(position, number))


def handed_in_files(course: Course, name: str, number: int) -> tuple[Path, Path]:
    """A zip of a notebook each, and a table of times; the reports are there as well."""
    template = load_assignment(course.files(name)).template
    export, times = course.root.parent / f"{name}.zip", course.root.parent / f"{name}.csv"
    lines = ["id,submitted"]
    with zipfile.ZipFile(export, "w") as file:
        for position, who in enumerate(STUDENTS, 1):
            data = to_bytes(answered(template, {"why": f"Because, says {who}."}))
            file.writestr(f"{who}.ipynb", data)
            when = DUE[name] - timedelta(hours=3) + timedelta(days=days_late(position, number))
            lines.append(f"{who},{when:%Y-%m-%d %H:%M} UTC")
            report = made_report(name, who, earned(position, number))
            known = {"submission_sha256": Submission.of(who, data).sha256}
            known |= {"environment": report.environment.model_copy(update={"sandbox": "process"})}
            report.model_copy(update=known).save(course.report_path(name, who))
    times.write_text("\n".join(lines))
    return export, times


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


@pytest.fixture(scope="module")
def canvas(graded) -> str:
    """Canvas' gradebook as it is before the first import."""
    rows = [f'"{who[1:]}, Student",{n},,{who},A,,' for n, who in enumerate(STUDENTS, 101)]
    head = ["Student,ID,SIS User ID,SIS Login ID,Section,hw1 (555),hw2 (556)", "    Points Possible,,,,,15,15"]
    return "\n".join([*head, *rows]) + "\n"


def test_what_other_programs_take_has_the_same_points(graded, canvas):
    course, _, _ = graded
    given = course.root.parent / "canvas.csv"
    given.write_text(canvas)
    said = autograder(course, "export", "canvas", "hw2", str(given))
    assert (said.code, said.err) == (0, "Points of 60 students.\n")
    with (course.root / "exports" / "hw2-canvas.csv").open() as file:
        column = [float(row[-1]) for row in list(csv.reader(file))[2:]]
    assert autograder(course, "export", "mail", "hw2").code == 0
    with (course.root / "exports" / "hw2-mail.csv").open() as file:
        mailed = [float(row["points"]) for row in csv.DictReader(file)]
    with course.scores_path.open() as file:
        rows = list(csv.DictReader(file))
    scored = [sum(float(row[f"hw2/{cell}"]) for cell in ("code", "train", "why", "late")) for row in rows]
    assert column == pytest.approx(scored)
    assert mailed == pytest.approx(scored)
    assert autograder(course, "export", "csv", "hw1").code == 0
    assert len((course.root / "exports" / "hw1-checks.csv").read_text().splitlines()) == 1 + 2 * 60


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
    course, grades, _ = graded
    given = autograder(course, "override", "s06", "hw2", "train", "0.5", "--why", "copied")
    assert given.out == "s06, hw2, train: 5 -> 0.5 of 5 points\n"
    back = autograder(course, "override", "s06", "hw2", "train", "--withdraw", "--why", "it was not")
    assert back.out == "s06, hw2, train: 0.5 -> 5 of 5 points\n"
    after = json.loads(autograder(course, "grades", "--json").out)
    assert float(Fraction(after[5]["points"])) == float(grades["s06"]["points"])
