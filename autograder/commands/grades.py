"""`autograder grades`: the grades of the whole course."""

from __future__ import annotations

import sys
from pathlib import Path

from autograder.commands.for_tas import CourseOption, JsonOption, note_deadlines


def grades(course: CourseOption = Path(), as_json: JsonOption = False) -> None:
    """Work out everybody's grade by the course's policy: grades.csv, a page a student, a page of the class.

    Takes the points of all homeworks, what being late costs, overrides, and marks that were imported.

    Example: `autograder grades --course dgm-2026`
    """
    import json

    from autograder.course.course import load_course
    from autograder.feedback.text import count
    from autograder.records.grades import write_grades
    from autograder.records.record import Record

    loaded = load_course(course)
    note_deadlines(loaded)
    with Record(loaded.root, "") as record:
        written = write_grades(loaded, record)
    if as_json:
        rows = [
            {
                "student": grade.standing.student, "grade": grade.grade, "points": str(grade.points),
                "final": grade.final, "missing": grade.missing,
            }
            for grade in written.grades
        ]  # fmt: skip
        print(json.dumps(rows, indent=1))
        return
    print(f"{written.table}\n{written.page}")
    final = sum(grade.final for grade in written.grades)
    print(f"{count(len(written.grades), 'student')}, {count(final, 'grade')} of them final.", file=sys.stderr)
