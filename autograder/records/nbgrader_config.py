"""The course's nbgrader_config.py: what nbgrader's commands and formgrader need to work as ours do."""

from __future__ import annotations

import json
from pathlib import Path

from traitlets.config.loader import PyFileConfigLoader

from autograder.course.course import Course
from autograder.course.settings import SQLITE
from autograder.errors import UserError
from autograder.report import write_atomically

CONFIG = "nbgrader_config.py"
RUBRICS = "autograder.records.formgrader.ShowRubrics"
RULE = "autograder.records.formgrader.ObeyFeedbackRule"
GRADE = "autograder.commands.nbgrader_button.GradeInSandbox"
SETTINGS = f"""\
# What autograder needs of nbgrader's commands and of formgrader; `autograder doctor --fix` writes it.
c = get_config()  # noqa: F821
c.CourseDirectory.source_directory = "release"  # what students get: the answers are cut out there already
c.CourseDirectory.release_directory = "handed_out"  # what `nbgrader generate_assignment` makes of it
c.HTMLExporter.preprocessors = [
    "{RUBRICS}",  # for graders: rubrics and model answers
    "{RULE}",  # for students: what `feedback:` of the homework lets them read
]
c.GenerateAssignment.preprocessors = [
    "nbgrader.preprocessors.LockCells",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.CheckCellMetadata",
    "nbgrader.preprocessors.ComputeChecksums",
    "nbgrader.preprocessors.SaveCells",
]
c.Autograde.sanitize_preprocessors = ["nbgrader.preprocessors.ClearOutput"]
c.ExportPlugin.to = "nbgrader.csv"  # grades.csv is what `autograder grades` writes
c.Autograde.autograde_preprocessors = ["{GRADE}"]  # in containers, with the course's checks; it writes the scores
"""
OLDER = "# Read by nbgrader's commands and by formgrader, which shows rubrics"  # begins what older versions wrote


def configure(course: Course) -> None:
    """Write the course's nbgrader_config.py, unless there is one."""
    path = course.root / CONFIG
    if not path.exists():
        write_atomically(path, _settings(course))


def is_configured(course: Course) -> bool:
    """True if nbgrader would grade in our sandbox, formgrader show rubrics, and feedback obey the homework's rule.

    Raises:
        UserError: the file cannot be run.
    """
    path = course.root / CONFIG
    if not path.exists():
        return False
    try:
        found = PyFileConfigLoader(path.name, path=str(course.root)).load_config()
    except Exception as error:  # it is a program of the course's own
        raise UserError(f"{path} cannot be read: {error}") from None
    pages = found.HTMLExporter.get("preprocessors", ())
    return GRADE in found.Autograde.get("autograde_preprocessors", ()) and RUBRICS in pages and RULE in pages


def mend(course: Course) -> Path:
    """Write nbgrader_config.py, or add what is missing at the end of the course's own, and return its path.

    Raises:
        UserError: the file cannot be run.
    """
    path = course.root / CONFIG
    if not is_configured(course):
        own = path.read_text(encoding="utf-8") if path.exists() else ""
        own = "" if own.startswith(OLDER) else own
        write_atomically(path, f"{own.rstrip()}\n\n{_settings(course)}".lstrip())
    return path


def _settings(course: Course) -> str:
    """With the gradebook where course.yaml has it, if that is not where nbgrader looks."""
    if course.config.gradebook == f"{SQLITE}gradebook.db":
        return SETTINGS
    return f"{SETTINGS}c.CourseDirectory.db_url = {json.dumps(course.gradebook_url)}\n"
