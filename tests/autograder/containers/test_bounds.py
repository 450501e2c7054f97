"""What many parts cost the grader: real containers, real judge processes, and what the host pays."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest
from nbformat import NotebookNode

from autograder.course.course import Course, init_course
from autograder.grading import batch
from autograder.grading.batch import grade_course
from autograder.grading.results import Batch, Options
from autograder.homework import ipynb
from autograder.report import Report
from autograder.sandbox.docker import Engine
from tests.autograder import at_work
from tests.autograder.containers.attacks import SUBMISSION_SECONDS, hidden_course
from tests.autograder.course_factory import NAME, answered, to_bytes

pytestmark = pytest.mark.container
MB = 1 << 20
CLASS = ("ada", "parts", "deaths", "heavy", "odd", "pasted")


def code(source: str, count: int) -> list[NotebookNode]:
    """The same cell a number of times."""
    raw = {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}
    cells: list[NotebookNode] = ipynb.as_notebook([raw | {"id": f"added-{i}"} for i in range(count)]).cells
    return cells


def hand_in(folder: Path, template: NotebookNode) -> None:
    """An honest notebook, and five that are legal and cost as much as they can."""
    notebooks = {name: answered(template) for name in CLASS}
    noted = "\n".join(f"!pip install {i}{'y' * 60}" for i in range(60))  # a note each, and no process
    loud = f"print(chr(0) * 65_500)\n{noted}\nraise ValueError('z' * 2000)"
    notebooks["parts"].cells[:0] = code(loud, 200)
    notebooks["deaths"].cells[1:1] = code("import os; os._exit(1)", 30)
    for name, notebook in notebooks.items():
        (folder / name / NAME).mkdir(parents=True)
        (folder / name / NAME / f"{NAME}.ipynb").write_bytes(to_bytes(notebook))
    pasted = json.loads(to_bytes(notebooks["pasted"]))
    source = " ".join(f"![](attachment:a{i}.png)" for i in range(20_000))
    attached = {f"a{i}.png": {"image/png": "iVBORw0KGgo=" * 16} for i in range(20_000)}
    pasted["cells"].append({"cell_type": "markdown", "metadata": {}, "source": source, "attachments": attached})
    (folder / "pasted" / NAME / f"{NAME}.ipynb").write_text(json.dumps(pasted))
    for name in ("one.bin", "two.bin"):
        (folder / "heavy" / NAME / name).write_bytes(os.urandom(50 * MB))
    (folder / "odd" / NAME / "re\u202eport.txt").write_text("x")


@pytest.fixture(scope="module")
def graded(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Course, Batch]:
    root = tmp_path_factory.mktemp("bounds")
    repository = hidden_course(root / "repository", 60.0)
    config = repository.assignments / NAME / "assignment.yaml"  # sizes are asked here, not times
    text = config.read_text().replace("check_seconds: 2", "check_seconds: 30")
    config.write_text(text.replace(f"submission_seconds: {SUBMISSION_SECONDS}", "submission_seconds: 600"))
    course = init_course(
        root / "course",
        assignments=repository.assignments,
        solutions=repository.solutions,
        settings={"salt": 2**130 + 3},
    )
    hand_in(root / "export", repository.load().template)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "grade_and_render", partial(at_work.weighed, course))
        return course, grade_course(course, NAME, root / "export", Options(sandbox="docker", jobs=2))


def report_of(graded: tuple[Course, Batch], student: str) -> Report:
    return next(report for report in graded[1].reports if report.student == student)


def test_no_judge_holds_more_than_its_share(graded):
    held = at_work.peaks(graded[0])
    assert {"ada", "parts", "deaths", "odd", "pasted"} <= held.keys()
    assert max(held.values()) < at_work.JUDGE_MB, held


def test_many_loud_cells_leave_a_small_report_and_page(graded):
    course, _ = graded
    assert course.report_path(NAME, "parts").stat().st_size < 2 * MB
    assert (course.feedback_dir(NAME) / "parts.html").stat().st_size < 4 * MB
    assert report_of(graded, "parts").earned == 3


def test_a_notebook_that_dies_thirty_times_starts_few_containers(graded):
    report = report_of(graded, "deaths")
    assert sum(run.status == "crash" for run in report.runs) <= 9
    assert any("was not run" in (run.error or "") for run in report.runs)
    assert not report.infrastructure


def test_files_beside_a_notebook_cost_themselves(graded):
    heavy, odd = report_of(graded, "heavy"), report_of(graded, "odd")
    assert (heavy.earned, odd.earned) == (3, 3)
    assert any("one.bin" in note and "MB" in note for note in heavy.notes)
    assert any("left out" in note for note in odd.notes)


def test_twenty_thousand_pictures_are_a_few(graded):
    course, _ = graded
    assert report_of(graded, "pasted").earned == 3
    written = json.loads(course.autograded_path(NAME, "pasted").read_text())
    assert sum(len(cell.get("attachments", {})) for cell in written["cells"]) <= 500
