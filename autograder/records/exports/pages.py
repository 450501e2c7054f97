"""Students' pages under the names by which Moodle and Canvas know whose they are, packed into one zip."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Mapping

from autograder.course.course import Course
from autograder.errors import UserError
from autograder.feedback import page_name
from autograder.records.record import Record
from autograder.records.state import State
from autograder.submissions.exports import CANVAS, MOODLE

EPOCH = (1980, 1, 1, 0, 0, 0)


def _moodle(state: State) -> str | None:
    """A file in the folder that the zip of submissions has for them."""
    found = MOODLE.fullmatch(state.exported)
    return None if found is None else f"{found['who']}_{found['number']}_assignsubmission_file_/feedback.html"


def _canvas(state: State) -> str | None:
    """The name of the file that was handed in, which Canvas compares, with another ending."""
    found = CANVAS.fullmatch(state.exported)
    return None if found is None else re.sub(r"\.\w+$", "", state.exported) + ".html"


WAYS: Mapping[str, Callable[[State], str | None]] = {
    "moodle": _moodle,
    "canvas": _canvas,
    "flat": lambda state: page_name(state.who),
}


def feedback_zip(course: Course, record: Record, way: str) -> tuple[bytes, list[str]]:
    """The pages of a homework, and the students of whom it is not known what the course page calls them.

    Args:
        way: one of `WAYS`.

    Raises:
        UserError: there is no page for any of them.
    """
    files: dict[str, bytes] = {}
    unknown = []
    for state in record.states():
        page = course.feedback_dir(record.homework) / page_name(state.who)
        if not state.student or not state.page or not page.is_file():
            continue
        name = WAYS[way](state)
        if name is None:
            unknown.append(state.who)
        else:
            files[name] = page.read_bytes()
    if not files:
        raise UserError(
            f"no page of {record.homework} can be named as {way} names it: what was graded did not come in its "
            "export. `--names flat` packs the pages under names of ours."
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue(), unknown
