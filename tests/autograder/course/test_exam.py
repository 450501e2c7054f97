"""Oral exams: the questions that ship, who draws which, and what an exam.yaml may not be."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
import yaml

from autograder.course.exam import EXAMPLE, Exam, draw, example, load_exam, marking_sheet
from autograder.errors import UserError
from autograder.yamlfile import load_yaml

STUDENTS = [f"s{n:03d}" for n in range(200)]


@pytest.fixture
def exam() -> Exam:
    return load_yaml(EXAMPLE, Exam)


def test_forty_questions_ship(exam):
    assert len(exam.questions) == 40
    assert all(question.topic and question.text.endswith(".") for question in exam.questions)


def test_the_questions_are_given_under_the_courses_title():
    assert yaml.safe_load(example('Models: "deep" ones'))["title"] == 'Models: "deep" ones, oral exam'
    assert example("Ours").replace("Ours", "Deep generative models") == EXAMPLE.read_text().replace(
        "title: Deep generative models, oral exam", 'title: "Deep generative models, oral exam"'
    )


def test_a_draw_can_be_repeated_and_neighbours_share_nothing(exam):
    drawn = draw(exam, STUDENTS, 2**130)
    assert draw(exam, STUDENTS, 2**130) == drawn
    assert draw(exam, STUDENTS, 2**130 + 1) != drawn
    assert all(not set(drawn[a]) & set(drawn[b]) for a, b in pairwise(STUDENTS))
    topics = [[exam.questions[n - 1].topic for n in numbers] for numbers in drawn.values()]
    assert all(len(set(mine)) == 2 for mine in topics)
    asked = Counter(n for numbers in drawn.values() for n in numbers)
    assert len(asked) == 40, "no question is left out"
    assert max(asked.values()) < 30, "and none is a favourite"


def test_who_comes_last_changes_nobody_elses_draw(exam):
    assert list(draw(exam, STUDENTS[:50], 7).items()) == list(draw(exam, STUDENTS, 7).items())[:50]


def test_a_few_questions_of_one_topic_are_enough_for_pairs():
    questions = [{"text": f"Question {n}?", "topic": "one"} for n in range(4)]
    drawn = draw(Exam.model_validate({"title": "t", "questions": questions}), STUDENTS, 7)
    assert all(len(set(numbers)) == 2 for numbers in drawn.values())
    assert all(not set(drawn[a]) & set(drawn[b]) for a, b in pairwise(STUDENTS))


def test_the_sheet_has_a_column_for_each_mark(exam):
    sheet = marking_sheet(exam, {"ada": "Ada"}, {"ada": (3, 9)}, 2)
    assert sheet == "student,name,question_1,question_2,points_1,points_2,note\nada,Ada,3,9,,,\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title: t\nquestions:\n  - {text: a}\n", ("line 2", "`questions`", "twice as many")),
        ("title: t\neach: 0\nquestions: []\n", ("line 2", "`each`")),
        (
            "title: t\nquestions:\n  - {text: a}\n  - {text: a}\n  - {text: b}\n  - {text: c}\n",
            ("line 2", "twice", "'a'"),
        ),
        ("title: t\nquestions:\n  - {text: a}\n  - {txet: b}\n", ("line 4", "txet")),
        ("questions: []\n", ("`title` is missing",)),
    ],
)
def test_an_exam_is_refused_with_file_line_and_key(tmp_path, text, words):
    path = tmp_path / "exam.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        load_exam(tmp_path)
    for word in (str(path), *words):
        assert word in str(refused.value)


def test_without_an_exam_the_command_that_writes_one_is_named(tmp_path):
    with pytest.raises(UserError, match="autograder exam init"):
        load_exam(tmp_path)
