"""Files of marks as spreadsheets write them, and what is wrong with them, by line."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest

from autograder.course.marks import merged, read_marks, said
from autograder.errors import UserError

STUDENTS = ["ada", "Bob"]


@pytest.mark.parametrize(
    "data",
    [
        b"student,points\nada,7.5\nbob,8\n",
        b"\xef\xbb\xbfstudent;points\r\nada;7,5\r\nBob;8\r\n",
        b'Student,Points,name\nada,"7,5",Ada\n\nbob,8,B\n',
        b"id\tpoints\nada\t7.50\nbob\t08\n",
        b"name;student;question_1;points;note\nA;ada;12;7,5;fine\nB;BOB;4;8;\n",
    ],
)
def test_every_spreadsheets_habits_are_understood(tmp_path, data):
    path = tmp_path / "exam.csv"
    path.write_bytes(data)
    assert read_marks(path, STUDENTS, 1, Fraction(30)) == {"ada": (Fraction(15, 2),), "Bob": (Fraction(8),)}


def test_the_parts_of_an_oral_exam_are_columns_and_an_empty_field_says_nothing(tmp_path):
    path = tmp_path / "exam.csv"
    path.write_text("student,points_1,points_2\nada,7,\nbob,,\n")
    given = read_marks(path, STUDENTS, 2, Fraction(10))
    assert given == {"ada": (Fraction(7), None)}
    old = {"ada": (Fraction(6), Fraction(9)), "Bob": (Fraction(1), Fraction(1))}
    assert merged(old, given) == {"ada": (Fraction(7), Fraction(9))}
    assert merged({"ada": (Fraction(7), None)}, given) == {}
    assert said((Fraction(7), None)) == "7 and –"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("student,points\neve,1\n", ("line 2", "`eve` is no student")),
        ("student,points\n,1\n", ("line 2", "the student's id is missing")),
        ("student,points\nada,1\nbob,2\nADA,3\n", ("line 4", "`ada` is there already, in line 2")),
        ("student,points\nada,30.01\n", ("line 2", "'30.01' is more than the 30 points")),
        ("student,points\nada,-1\n", ("line 2", "less than nothing")),
        ("student,points\nada,many\n", ("line 2", "'many' is no number")),
        ("student,points\nada,nan\n", ("line 2", "no number")),
        ("student,points\nada,1e5\n", ("line 2", "no number")),
        ("student,points\nada,=1+1\n", ("line 2", "no number")),
        ("student,point\nada,1\n", ("line 1", "unknown column `point`", "student, points")),
        ("student,points_1,points_2\nada,1,2\n", ("line 1", "`points_2`")),
        ("name,points\nada,1\n", ("line 1", "a column is missing")),
        ("student,points,points\nada,1,2\n", ("line 1", "twice")),
        ("student,points\nada,\n", ("gives no marks",)),
        ("", ("is empty",)),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path, text, words):
    path = tmp_path / "exam.csv"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        read_marks(path, STUDENTS, 1, Fraction(30))
    for word in (str(path), *words):
        assert word in str(refused.value)


def test_every_problem_is_said_at_once_and_other_encodings_are_named(tmp_path):
    path = tmp_path / "exam.csv"
    path.write_text("student,points\neve,1\nada,31\n")
    with pytest.raises(UserError) as refused:
        read_marks(path, STUDENTS, 1, Fraction(30))
    assert len(str(refused.value).splitlines()) == 2
    path.write_bytes("student;points;note\nada;1;хорошо\n".encode("cp1251"))
    with pytest.raises(UserError, match="UTF-8"):
        read_marks(path, STUDENTS, 1, Fraction(30))


@pytest.mark.parametrize(("name", "ids"), [("Ада Лавлейс", "`ada`."), ("Bob", "`b1` or `b2`."), ("Eve", "")])
def test_a_name_in_the_place_of_an_id_is_answered_with_the_id(tmp_path, name, ids):
    path = tmp_path / "exam.csv"
    path.write_text(f"student;points\n{name};7\n", encoding="utf-8")
    people = {"ada": "Ада Лавлейс", "b1": "Bob", "b2": "Bob"}
    words = "is no student of the course" if name == "Eve" else f"is a name; write the student's id, {ids}"
    with pytest.raises(UserError, match=re.escape(words)):
        read_marks(path, people, 1, Fraction(30))
