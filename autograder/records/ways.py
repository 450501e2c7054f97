"""How each hand-in came: as what, when, by what it was known whose it is.

It is kept in `collected/<homework>/<student>.json`: a record made anew knows it from there, and nothing handed in can
claim it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from autograder.course.course import Course
from autograder.report import write_atomically

FOLDER = "collected"


def write_way(course: Course, homework: str, student: str, way: Mapping[str, object]) -> None:
    """Write down how something came."""
    path = course.root / FOLDER / homework / f"{student}.json"
    write_atomically(path, json.dumps(way, ensure_ascii=False, indent=1) + "\n")


def read_way(course: Course, homework: str, student: str) -> dict[str, object]:
    """How something came, as fields of `State`; nothing if it was put there by other hands."""
    path = course.root / FOLDER / homework / f"{student}.json"
    try:
        way = dict(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return {}
    return way | {"notes": tuple(way.get("notes", ()))}
