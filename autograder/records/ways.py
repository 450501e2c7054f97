"""How each hand-in came: as what, when, by what it was known whose it is.

It is kept beside what was handed in, `submitted/.ways/<homework>/<student>.json`, so that a record made anew knows it,
and outside a student's own folder, so that nothing handed in can claim it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from autograder.course.course import Course
from autograder.report import write_atomically

FOLDER = ".ways"


def write_way(course: Course, homework: str, student: str, way: Mapping[str, object]) -> None:
    """Write down how something came."""
    path = course.submitted_dir / FOLDER / homework / f"{student}.json"
    write_atomically(path, json.dumps(way, ensure_ascii=False, indent=1) + "\n")


def read_way(course: Course, homework: str, student: str) -> dict[str, object]:
    """How something came, as fields of `State`; nothing if it was put there by other hands."""
    path = course.submitted_dir / FOLDER / homework / f"{student}.json"
    try:
        way = dict(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return {}
    return way | {"notes": tuple(way.get("notes", ()))}
