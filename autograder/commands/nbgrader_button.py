"""nbgrader's own buttons on a course of ours: `nbgrader autograde hw1`, and "autograde" in formgrader.

nbgrader would run a notebook in a kernel of this machine and give full marks where nothing raises. In the place of that
stands a preprocessor that grades the one submission as `autograder grade` does: in the sandbox, with our checks, into
the gradebook, the report, the pages. nbgrader gets the notebook that a human grades from, with the points as output.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.course.course import FILE, Course, load_course
from autograder.errors import Infrastructure, UserError
from autograder.grading.batch import grade_course
from autograder.grading.results import Options
from autograder.homework import ipynb
from autograder.homework.assignment import load_assignment
from autograder.records.gradebook import Book
from autograder.records.record import Record
from autograder.records.state import State


class GradeInSandbox(NbGraderPreprocessor):  # type: ignore[misc]  # nbgrader says no types
    """Grades the submission that nbgrader is at."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """As nbconvert calls it.

        Raises:
            Infrastructure: the machine failed; nbgrader says so, and grades stay as they were.
            UserError: what was handed in cannot be graded, or the course cannot.
        """
        student, name = resources["nbgrader"]["student"], resources["nbgrader"]["assignment"]
        course = course_around(Path.cwd())
        notebook = course.autograded_path(name, student)
        notebook.unlink(missing_ok=True)  # what nbgrader has put there is what was handed in
        grade_course(course, name, options=Options(students=frozenset({student})))
        with Record(course.root, name) as record:
            state = record.get(student) or State(student)
        if state.rejected is not None:
            raise UserError(f"{name} of {student}: {state.sentence}")
        if state.infrastructure or not notebook.is_file():
            raise Infrastructure(f"{name} of {student}: {state.sentence}; no points are lost, run it again")
        graded: NotebookNode = nbformat.read(notebook, as_version=4)
        for cell in graded.cells:
            points = state.marks.get(ipynb.grade_id(cell) or "")
            if points is not None and cell.cell_type == "code":
                data = {"text/plain": f"{points:g}"}
                cell.outputs.append(new_output("execute_result", data, execution_count=None))
        return graded, resources


def course_around(folder: Path) -> Course:
    """The course that a folder lies in. Raises UserError if it lies in none."""
    for root in (folder, *folder.resolve().parents):
        if (root / FILE).is_file():
            return load_course(root)
    raise UserError(f"{folder} lies in no course folder: there is no {FILE}.")


def enter_homework(course: Course, name: str) -> None:
    """Make the gradebook know a homework and the students, so that nbgrader's lists show them before any grade."""
    with Book(course.gradebook_url) as book:
        book.ensure_assignment(load_assignment(course.files(name)))
        book.add_students(course.people)
