"""Gradescope: results of what we graded, for an upload, and the zip with which it runs the public checks itself.

Gradescope lends its machines no container engine, and what lies in an autograder's zip lies beside the student's code.
So nothing hidden goes into it: the files are those of the release, which students have anyway.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from autograder.course.course import Course
from autograder.errors import UserError
from autograder.feedback.gradescope import results_of
from autograder.homework.assignment import Assignment
from autograder.homework.files import CONFIG
from autograder.records.exports.tables import reports_of
from autograder.records.record import Record
from autograder.records.standing import remarks_of
from autograder.report import write_atomically

EPOCH = (1980, 1, 1, 0, 0, 0)
SETUP = """\
#!/usr/bin/env bash
# Runs once, when Gradescope makes the image: the packages that the public checks need.
set -euo pipefail
apt-get update && apt-get install -y python3 python3-venv
python3 -m venv /autograder/venv
wheel=$(ls /autograder/source/*.whl)
/autograder/venv/bin/pip install "${wheel}[cli]" jinja2@PACKAGES@
"""
RUN = """\
#!/usr/bin/env bash
# Runs for each submission: the PUBLIC checks, in a process of their own, which is no wall against hostile code. Nothing
# hidden lies here, and no points of hidden checks or of theory are given here: they come from the course's own grading.
/autograder/venv/bin/python -m autograder.judge.gradescope_run \\
    /autograder/source /autograder/submission /autograder/results/results.json
"""
SAYS = """\
An autograder for Gradescope: public checks of {}, and nothing else. Gradescope runs no containers, so hidden checks,
references and answers are not in this zip; whoever hands in can read all of it without harm.
"""


def write_results(course: Course, assignment: Assignment, record: Record, folder: Path) -> int:
    """Write `<student>.json` for every report, as Gradescope reads `results.json`; returns how many."""
    number = 0
    for report in reports_of(course, record):
        results = results_of(report, assignment.config.feedback, remarks_of(course, record, report.student))
        write_atomically(folder / f"{report.student}.json", json.dumps(results, ensure_ascii=False, indent=1) + "\n")
        number += 1
    return number


def autograder_zip(course: Course, assignment: Assignment) -> bytes:
    """The zip that Gradescope takes as an autograder, made of the released files.

    Raises:
        UserError: the homework is not released.
    """
    folder = course.release_dir / assignment.name
    if not (folder / CONFIG).is_file():
        raise UserError(f"{assignment.name} is not released; `autograder release {assignment.name}` makes {folder}.")
    packages = "".join(f" '{name}'" for name in assignment.config.packages)
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    files |= {"setup.sh": SETUP.replace("@PACKAGES@", packages).encode(), "run_autograder": RUN.encode()}
    files["READ_ME.txt"] = SAYS.format(assignment.name).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr = (0o100755 if name in ("setup.sh", "run_autograder") else 0o100644) << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
