"""A student of a course, and every name under which something of theirs may be handed in."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from autograder.yamlfile import StrictModel

STUDENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,119}")  # it becomes part of file names


class Person(StrictModel):
    """A student of the course.

    Args:
        id: names files, pages and rows of the gradebook.
        name: in full.
        github: the name of an account there.
        canvas_id, moodle_id: the numbers with which these name what they export.
        team: of several, whose one hand-in counts for each of them.
        alias: further names that mean this student.
    """

    id: str
    name: str = ""
    email: str = ""
    github: str = ""
    canvas_id: str = ""
    moodle_id: str = ""
    team: str = ""
    alias: list[str] = Field(default=[])

    @field_validator("id")
    @classmethod
    def _part_of_a_file_name(cls, value: str) -> str:
        if not STUDENT_ID.fullmatch(value):
            raise ValueError("should be letters, digits and any of . _ @ + -")
        return value
