"""One class, graded in containers as a TA would: hostile paths, hostile text and mangled notebooks beside honest work.

Rows 13, 20 and 21 of the list of attacks: what reaches the trusted side as a path, a text or a structure.
"""

from __future__ import annotations

import copy
import csv
import io
import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from autograder.course.course import Course, init_course
from autograder.grading import batch
from autograder.grading.batch import grade_course
from autograder.grading.results import Batch, Options
from autograder.sandbox.docker import Engine
from autograder.submissions.person import Person
from tests.autograder import at_work
from tests.autograder.containers.attacks import CANARY, MARKER, hidden_course, snapshot
from tests.autograder.course_factory import ANSWERS, NAME, answered, to_bytes

pytestmark = pytest.mark.container

SCRIPT = '</pre><script>document.title="taken"</script><img src=x onerror=alert(1)><svg onload=alert(2)>'
ESCAPES = "\x1b]0;taken\x07\x1b[2J\x1b[31m"
PEOPLE = {
    "xss": SCRIPT,
    "formula": "=cmd|' /C calc'!A0",
    "terminal": f"Ada{ESCAPES}",
}


def _at(notebook: NotebookNode, grade_id: str) -> int:
    names = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
    return names.index(grade_id)


def _deleted(notebook: NotebookNode) -> None:
    del notebook.cells[_at(notebook, "line-answer")], notebook.cells[_at(notebook, "setup")]


def _duplicated(notebook: NotebookNode) -> None:
    notebook.cells += copy.deepcopy(notebook.cells)


def _reordered(notebook: NotebookNode) -> None:
    notebook.cells.reverse()


def _retyped(notebook: NotebookNode) -> None:
    for grade_id in ("double-answer", "line-answer"):
        cell = notebook.cells[_at(notebook, grade_id)]
        cell.cell_type = "raw"
        cell.pop("outputs", None)
        cell.pop("execution_count", None)


def _locked_edited(notebook: NotebookNode) -> None:
    notebook.cells[_at(notebook, "setup")].source = "raise SystemExit('no setup')"
    notebook.cells[_at(notebook, "double")].source = "double = None"
    notebook.cells[_at(notebook, "double")].metadata.nbgrader.points = 100


def _magics(notebook: NotebookNode) -> None:
    lines = ("%run secrets.py", f"!touch {MARKER}", f"%%bash\ntouch {MARKER}", "%cd /", "!pip install x")
    for source in lines:
        notebook.cells.insert(1, new_code_cell(source))


def _spoken(notebook: NotebookNode) -> None:
    """Text of the student's wherever a page, a terminal or a spreadsheet may show it."""
    cell = notebook.cells[_at(notebook, "double-answer")]
    cell.source = f"def double(x):\n    raise ValueError({SCRIPT + ESCAPES!r})\n"
    shown = new_code_cell(f"print({SCRIPT + ESCAPES!r})")
    shown.outputs = [new_output("display_data", {"text/html": SCRIPT, "image/svg+xml": SCRIPT})]
    notebook.cells[:0] = [new_markdown_cell(SCRIPT), shown]


MANGLED: dict[str, tuple[Callable[[NotebookNode], None], float]] = {  # what was done, and what is still earned
    "deleted": (_deleted, 2.0),
    "duplicated": (_duplicated, 3.0),
    "reordered": (_reordered, 2.4),  # from last to first: the model is trained before it is defined
    "retyped": (_retyped, 3.0),
    "locked": (_locked_edited, 3.0),
    "magics": (_magics, 3.0),
    "xss": (_spoken, 1.0),
    "formula": (_spoken, 1.0),
    "terminal": (_spoken, 1.0),
    "honest": (lambda notebook: None, 3.0),
}
REJECTED = {  # how a submission's path was bent, and what the TA reads
    "link": "symbolic link",
    "hardlink": "hard link",
    "pipe": "pipe",
    "climbs": "leads out of the zip",
    "absolute": "absolute name",
    "bomb": "zip bomb",
    "binary": "",
    "empty": "empty",
}


class Reader(HTMLParser):
    """Collects what of a page would run or ask the network for something."""

    def __init__(self) -> None:
        super().__init__()
        self.live: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed", "link", "base", "form"):
            self.live.append((tag, None))
        for name, value in attrs:
            asks = name in ("src", "href", "action") and not re.match(r"data:image/|#|[a-z]+\.html$", value or "")
            if name.startswith("on") or asks:
                self.live.append((f"{tag} {name}", value))


@dataclass(frozen=True)
class Graded:
    course: Course
    batch: Batch
    untouched: bool  # the files outside the course are as they were


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _hand_in(source: Path, good: bytes, template: NotebookNode, outside: Path) -> None:
    for student, (mangle, _) in MANGLED.items():
        notebook = answered(template, ANSWERS)
        mangle(notebook)
        (source / student).mkdir(parents=True)
        (source / student / f"{NAME}.ipynb").write_bytes(to_bytes(notebook))
    for student in REJECTED:
        (source / student).mkdir()
    (source / "link" / f"{NAME}.ipynb").symlink_to(outside)
    (source / "hardlink" / f"{NAME}.ipynb").hardlink_to(outside)
    os.mkfifo(source / "pipe" / f"{NAME}.ipynb")
    archives = {
        "climbs": {f"{NAME}.ipynb": good, "../../evil.py": b"x"},
        "absolute": {f"{NAME}.ipynb": good, "/etc/evil": b"x"},
        "bomb": {f"{NAME}.ipynb": good, "bomb.bin": bytes(64 << 20)},
    }
    for student, files in archives.items():
        (source / student / f"{NAME}.zip").write_bytes(_zip(files))
    (source / "binary" / f"{NAME}.ipynb").write_bytes(b"\x00\xff\xfe" * 100)
    (source / "empty" / f"{NAME}.ipynb").touch()


@pytest.fixture(scope="module")
def graded(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Graded:
    root = tmp_path_factory.mktemp("class")
    repository = hidden_course(root / "repository", 4.0)
    template = repository.load().template
    good = to_bytes(answered(template))
    outside = root / "elsewhere" / f"{CANARY}.ipynb"
    outside.parent.mkdir()
    outside.write_bytes(good)
    source = root / "export"
    _hand_in(source, good, template, outside)
    course = init_course(
        root / "course",
        assignments=repository.assignments,
        solutions=repository.solutions,
        students=[Person(id=who, name=PEOPLE.get(who, who.title())) for who in (*MANGLED, *REJECTED)],
        settings={"salt": 2**130 + 3},
    )
    before = snapshot(root / "repository") | snapshot(root / "elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "grade_and_render", partial(at_work.weighed, course))
        made = grade_course(course, NAME, source, Options(sandbox="docker", jobs=2))
    return Graded(course, made, before == snapshot(root / "repository") | snapshot(root / "elsewhere"))


def test_no_judge_holds_more_than_its_share(graded: Graded) -> None:
    held = at_work.peaks(graded.course)
    assert set(MANGLED) <= held.keys()
    assert max(held.values()) < at_work.JUDGE_MB, held


def test_mangled_notebooks_lose_their_own_task_at_most(graded: Graded) -> None:
    earned = {report.student: report.earned for report in graded.batch.reports}
    assert earned == {student: points for student, (_, points) in MANGLED.items()}
    assert not MARKER.exists()


def test_bent_paths_are_rejected_with_a_sentence_and_the_class_goes_on(graded: Graded) -> None:
    assert set(graded.batch.rejected) == set(REJECTED)
    for student, words in REJECTED.items():
        assert words in graded.batch.rejected[student], graded.batch.rejected[student]
    assert graded.untouched
    assert not list(graded.course.root.rglob("*evil*"))


def test_no_page_runs_or_requests_what_a_student_wrote(graded: Graded) -> None:
    pages = {path.name: path.read_text() for path in graded.course.feedback_dir(NAME).glob("*.html")}
    assert {"xss.html", "class.html"} <= set(pages)
    for name, page in pages.items():
        reader = Reader()
        reader.feed(page)
        assert reader.live == [], name
        assert not re.search(r"[\x00-\x08\x0b-\x1f]", page), name
        assert CANARY not in page
    assert "&lt;script&gt;" in pages["xss.html"]


def test_no_name_becomes_a_formula_or_moves_the_cursor(graded: Graded) -> None:
    text = graded.course.scores_path.read_text()
    names = {row["student"]: row["name"] for row in csv.DictReader(io.StringIO(text))}
    assert names["formula"] == f"'{PEOPLE['formula']}"
    assert "\x1b" not in text
