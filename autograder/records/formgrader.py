"""Rubrics in formgrader, where a grader sees them, and what `nbgrader generate_feedback` may show.

nbgrader makes students' feedback from the notebooks under `autograded/`, so nothing that only a grader may read lies in
them. Formgrader turns one into a page each time it is opened; at that moment the rubric and the model answer are read
from the solution and put below the student's answer. The same nbgrader_config.py names it to `nbgrader
generate_feedback`: there, and wherever else the page is not formgrader's own, nothing is added, and the homework's
`feedback:` is obeyed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from autograder.course.course import FILE, Course, load_course
from autograder.course.late import last_deadline
from autograder.errors import AutograderError, UserError
from autograder.homework import ipynb
from autograder.homework.assignment import load_assignment
from autograder.homework.settings import LATER, POINTS
from autograder.judge.rubrics import as_markdown, rubrics_of

HEADING = "**For graders only: rubric of `{}`**"


class ShowRubrics(Preprocessor):
    """Puts the rubric below each hand-graded answer of a page that formgrader shows."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """As nbconvert calls it; any other page than formgrader's stays as it is."""
        if not self._is_formgrader(resources):
            return nb, resources
        try:
            rubrics = _rubrics(Path(resources["metadata"]["path"]), str(resources["assignment_id"]))
        except (AutograderError, OSError) as error:
            nb.cells.insert(0, new_markdown_cell(f"**For graders only.** The rubrics cannot be read: {error}"))
            return nb, resources
        cells: list[NotebookNode] = []
        for cell in nb.cells:
            cells.append(cell)
            name = ipynb.grade_id(cell)
            if name in rubrics:
                cells.append(new_markdown_cell(f"{HEADING.format(name)}\n\n{rubrics[name]}"))
        nb.cells = cells
        return nb, resources

    def _is_formgrader(self, resources: dict[str, Any]) -> bool:
        """Formgrader's own template, and a submission of its gradebook; a page of feedback has neither."""
        return getattr(self.parent, "template_name", None) == "formgrade" and "submission_id" in resources


class ObeyFeedbackRule(Preprocessor):
    """Keeps from a page of `nbgrader generate_feedback` what its student may not read, or not yet."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """As nbconvert calls it; any other page than a student's stays as it is.

        Raises:
            UserError: hidden checks are not shown yet, and nbgrader's points are those of all checks.
        """
        if getattr(self.parent, "template_name", None) != "feedback" or "nbgrader" not in resources:
            return nb, resources
        name = str(resources["nbgrader"]["assignment"])
        course = _course_around(Path(resources["metadata"]["path"]))
        rule = load_assignment(course.files(name)).config.feedback
        last = last_deadline(name, course.config.due, course.extensions)
        if rule == LATER and (last is None or datetime.now(UTC) < last):
            raise UserError(
                f"hidden checks of {name} are shown when the time of all is over; until then students' pages are "
                f"those in {course.feedback_dir(name)}."
            )
        if rule == POINTS:
            for cell in nb.cells:
                if ipynb.nbgrader_metadata(cell).get("grade") and cell.cell_type == "code":
                    cell["outputs"] = []
        return nb, resources


def _course_around(folder: Path) -> Course:
    return load_course(next((path for path in folder.resolve().parents if (path / FILE).is_file()), Path()))


def _rubrics(folder: Path, name: str) -> dict[str, str]:
    """The rubrics of a homework as markdown, for the notebook in `autograded/<student>/<homework>`."""
    assignment = load_assignment(_course_around(folder).files(name))
    return {cell: as_markdown(rubric) for cell, rubric in rubrics_of(assignment).items()}
