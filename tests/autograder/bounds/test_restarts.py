"""A sandbox costs seconds, so a submission has a number of them; what is handed in beside a notebook has a size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from autograder.feedback.pictures import picture
from autograder.judge.figures import Figures
from autograder.judge.session import Session
from autograder.report import Figure
from autograder.sandbox import Limits
from autograder.student import Student
from autograder.submission import FILES_BYTES, Submission
from autograder.submissions.collect import collect
from tests.autograder.course_factory import NAME, answered, make_repository, to_bytes
from tests.autograder.judge.test_session import BUDGETS, fault_of, session_of
from tests.autograder.providers import ForkProvider, cells


@pytest.fixture
def provider() -> Iterator[ForkProvider]:
    source = ForkProvider()
    yield source
    source.close()


def test_thirty_cells_that_kill_the_sandbox_cost_few_and_what_is_left_is_said(provider):
    session = session_of(provider, "early = 1", *["import os; os._exit(1)"] * 30, "late = 2", submission_seconds=120)
    session.play()
    assert len(provider.started) <= 10
    assert Student(session, "a").early == 1
    fault = fault_of(lambda: Student(session, chr(ord("a") + 31)).late)
    assert "was not run" in fault.message
    skipped = [run for run in session.runs.values() if run.status == "skipped"]
    assert all(run.error and "ended the process" in run.error for run in skipped)
    assert len(skipped) >= 20


def test_checks_that_kill_the_sandbox_cost_few_and_the_rest_are_told(provider):
    session = session_of(provider, "import os\ndef boom(): os._exit(3)", submission_seconds=120)
    faults = []
    for _ in range(60):
        with session.check():
            faults.append(fault_of(lambda: Student(session, "a").boom()))
    assert len(provider.started) <= 30
    assert {fault.reason for fault in faults} == {"crash"}
    assert "was not started again" in faults[-1].message


def test_a_few_deaths_cost_what_they_broke_only(provider):
    session = session_of(provider, "import os; os._exit(1)", "x = 1", "import os; os._exit(2)", "y = 2")
    session.play()
    assert (Student(session, "b").x, Student(session, "d").y) == (1, 2)


# --- files beside the notebook


def test_what_may_be_handed_in_fits_where_it_goes():
    assert 0.75 * (Limits().tmp_mb << 20) >= FILES_BYTES


def test_a_hundred_megabytes_beside_a_notebook_are_refused_with_a_sentence(tmp_path):
    assignment = make_repository(tmp_path / "repository").load()
    folder = tmp_path / "export" / "ada"
    folder.mkdir(parents=True)
    (folder / f"{NAME}.ipynb").write_bytes(to_bytes(answered(assignment.template)))
    for name in ("one.bin", "two.bin"):
        (folder / name).write_bytes(bytes(50 << 20))
    (ada,) = collect(tmp_path / "export", assignment, [])
    assert isinstance(ada, Submission)
    assert ada.files == {}
    assert sum("`one.bin` was left out" in note and "MB" in note for note in ada.notes) == 1


def test_a_session_is_not_opened_with_more_files_than_there_is_room_for(provider):
    session = Session(provider, cells("x = 1"), {f"{i}": bytes(50 << 20) for i in range(2)}, BUDGETS, seed=0)
    fault = fault_of(lambda: Student(session, "a").x)
    assert fault.reason == "output"
    assert "100 MB" in fault.message
    assert "No space" not in fault.message
    assert len(provider.started) <= 1


@pytest.mark.parametrize("name", ["re\u202eport.txt", "bell\x07.csv", "n" * 260 + ".txt"])
def test_one_odd_name_costs_that_file(tmp_path, name):
    import io
    import zipfile

    assignment = make_repository(tmp_path / "repository").load()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{NAME}.ipynb", to_bytes(answered(assignment.template)))
        archive.writestr(name, b"1")
        archive.writestr("helper.py", b"x = 1")
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "ada.zip").write_bytes(buffer.getvalue())
    (ada,) = collect(tmp_path / "export", assignment, [])
    assert isinstance(ada, Submission)
    assert set(ada.files) == {"helper.py"}
    assert any("left out" in note for note in ada.notes)
    assert all(note.isprintable() for note in ada.notes)


# --- figures


@pytest.mark.parametrize("odd", [float("inf"), -float("inf"), float("nan"), 1.7e308])
@pytest.mark.parametrize("kind", ["heatmap", "curve", "points"])
def test_what_is_not_finite_is_drawn_or_said(kind, odd):
    shape = {"heatmap": (4, 2), "curve": (4, 2), "points": (4, 2)}[kind]
    values = torch.arange(float(torch.tensor(shape).prod()), dtype=torch.float64).reshape(shape) / 100
    values.view(-1)[1] = odd
    figures = Figures()
    getattr(figures, kind)("Loss", {"yours": values})
    (figure,) = figures.collected
    written = figure.model_dump_json()
    assert "null" not in written
    assert "Infinity" not in written
    drawn = picture(Figure.model_validate_json(written))
    assert drawn.refused is None
    assert drawn.panels
    assert "1 of" in drawn.title


def test_brightness_that_is_not_finite_is_said():
    figures = Figures()
    values = torch.tensor([0.5, float("inf"), float("nan"), 1e300], dtype=torch.float64)
    figures.images("Samples", {"yours": values.reshape(1, 2, 2)})
    (figure,) = figures.collected
    assert "2 of" in figure.title
    assert figure.panels == {"yours": [[[0.5, 0.0], [0.0, 1.0]]]}
