"""An oral exam: `exam.yaml` holds its questions, a draw gives each student theirs.

A draw follows from the course's salt, the exam's title and the order of the students: the same once more. Nobody gets a
question that the one before them got, and of one's own no two are of the same topic, as far as there are topics enough.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from autograder.course.policy import Name
from autograder.errors import UserError
from autograder.seeds import key_of, seed_from
from autograder.yamlfile import StrictModel, load_yaml

FILE = "exam.yaml"
EXAMPLE = Path(__file__).parent / "exams" / "mipt.yaml"


class Question(StrictModel):
    """One question."""

    text: str = Field(min_length=1)
    topic: str = ""


class Exam(StrictModel):
    """`exam.yaml`."""

    title: str
    component: Name = "exam"  # of the policy, whose marks it gives
    each: int = Field(default=2, ge=1, le=20)  # questions a student gets
    questions: list[Question]

    @field_validator("questions")
    @classmethod
    def _enough(cls, value: list[Question], info: ValidationInfo) -> list[Question]:
        texts = [question.text for question in value]
        if len(set(texts)) < len(texts):
            twice = next(text for text in texts if texts.count(text) > 1)
            raise ValueError(f"should not hold a question twice: {twice[:60]!r}")
        if len(value) < 2 * info.data.get("each", 1):
            raise ValueError("should hold twice as many as a student gets, so that no neighbour gets the same")
        return value


def example(course: str) -> str:
    """The shipped questions, under the title of a course."""
    title = json.dumps(f"{course}, oral exam", ensure_ascii=False)
    return re.sub(r"^title: .*$", lambda _: f"title: {title}", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def load_exam(root: Path) -> Exam:
    """The exam of the course folder `root`. Raises UserError naming file, line and key."""
    if not (root / FILE).exists():
        raise UserError(f"{root} has no {FILE}; `autograder exam init` writes one with forty questions to begin with.")
    return load_yaml(root / FILE, Exam)


def draw(exam: Exam, students: Sequence[str], salt: int) -> dict[str, tuple[int, ...]]:
    """Student -> numbers of their questions, counted from 1; students in the order in which they sit."""
    key = key_of(salt, "exam", exam.title)
    drawn: dict[str, tuple[int, ...]] = {}
    before: tuple[int, ...] = ()
    for student in students:
        numbers = range(1, len(exam.questions) + 1)
        order = sorted((n for n in numbers if n not in before), key=lambda n: seed_from(key, student, n))
        before = drawn[student] = _of_different_topics(exam, order)
    assert all(not set(drawn[a]) & set(drawn[b]) for a, b in pairwise(students))
    return drawn


def _of_different_topics(exam: Exam, order: Sequence[int]) -> tuple[int, ...]:
    """The first ones, one of a topic; when all topics are used up, whatever comes next."""
    chosen: list[int] = []
    topics: set[str] = set()
    for number in order:
        topic = exam.questions[number - 1].topic
        if not topic or topic not in topics:
            chosen.append(number)
            topics.add(topic)
    chosen += [number for number in order if number not in chosen]
    return tuple(chosen[: exam.each])


def marking_sheet(exam: Exam, names: Mapping[str, str], drawn: Mapping[str, Sequence[int]], parts: int) -> str:
    """A CSV to mark in: a row a student, columns that `marks import` takes.

    Args:
        parts: marks a student gets: one for each question, or one in all.
    """
    points = [f"points_{n}" for n in range(1, parts + 1)] if parts > 1 else ["points"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["student", "name", *(f"question_{n}" for n in range(1, exam.each + 1)), *points, "note"])
    for student, numbers in drawn.items():
        writer.writerow([student, names.get(student, ""), *numbers, *("" for _ in points), ""])
    return buffer.getvalue()
