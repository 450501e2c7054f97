"""Rubrics in nbgrader's formgrader, and nowhere else.

nbgrader makes students' feedback from the notebooks under `autograded/`, so nothing that only a grader may read lies in
them. Formgrader turns one into a page each time it is opened; at that moment the rubric and the model answer are read
from the solution and put below the student's answer. The same nbgrader_config.py is read by `nbgrader
generate_feedback`: there, and wherever else the page is not formgrader's own, nothing is added.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from autograder.course.course import FILE, Course, load_course
from autograder.errors import AutograderError
from autograder.homework import ipynb
from autograder.homework.assignment import load_assignment
from autograder.judge.rubrics import as_markdown, rubrics_of
from autograder.report import write_atomically

CONFIG = "nbgrader_config.py"
SETTINGS = """\
# Read by nbgrader's commands and by formgrader, which shows rubrics and model answers to graders with it.
c = get_config()  # noqa: F821
c.HTMLExporter.preprocessors = ["autograder.records.formgrader.ShowRubrics"]
"""
HEADING = "**For graders only: rubric of `{}`**"


def configure(course: Course) -> None:
    """Write the course's nbgrader_config.py, unless there is one."""
    path = course.root / CONFIG
    if not path.exists():
        write_atomically(path, SETTINGS)


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


def _rubrics(folder: Path, name: str) -> dict[str, str]:
    """The rubrics of a homework as markdown, for the notebook in `autograded/<student>/<homework>`."""
    root = next((path for path in folder.resolve().parents if (path / FILE).is_file()), Path())
    assignment = load_assignment(load_course(root).files(name))
    return {cell: as_markdown(rubric) for cell, rubric in rubrics_of(assignment).items()}
