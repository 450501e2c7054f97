"""The judge hands data to a notebook: drawn for each student in grading, the released example at home."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from nbformat import NotebookNode

from autograder.authoring.lint import lint
from autograder.authoring.release import released_files
from autograder.errors import AuthorError, StudentFault, UserError
from autograder.homework.assignment import load_assignment
from autograder.homework.files import HomeworkFiles
from autograder.homework.handed import LARGEST
from autograder.homework.ipynb import to_text
from autograder.homework.settings import Budgets
from autograder.judge import grade as module
from autograder.judge import notebook_check
from autograder.judge.grade import grade
from autograder.judge.handing import EXAMPLE, handed_at_home, handed_in_grading, unlike_the_example
from autograder.judge.job import Job
from autograder.judge.keys import Keys
from autograder.judge.model_answers import read_solution
from autograder.judge.notebook_check import check_notebook
from autograder.judge.selfcheck import course_data, public_results
from autograder.judge.session import Session
from autograder.report import Report
from autograder.student import Student
from autograder.submission import Submission
from autograder.submissions.beside import files_beside
from tests.autograder.drawn_homework import NAME, PUBLIC, make_drawn, with_cell
from tests.autograder.providers import ForkProvider, ScriptedProvider, cells, good


@pytest.fixture
def files(tmp_path: Path) -> HomeworkFiles:
    return make_drawn(tmp_path)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkProvider]:
    source = ForkProvider()
    monkeypatch.setattr(module, "provider_of", lambda *arguments: source)
    monkeypatch.setattr(notebook_check, "open_provider", lambda *arguments, **options: source)
    yield source
    source.close()


def graded(files: HomeworkFiles, notebook: NotebookNode, student: str = "ada", **options: Any) -> Report:
    return grade(Job(files, Submission.of(student, to_text(notebook).encode()), "process", salt=7, **options))


def earned(report: Report) -> dict[str, float | None]:
    return {cell.cell: cell.earned for cell in report.cells}


def keys(student: str, submission: str = "a") -> Keys:
    return Keys.of(7, NAME, student, submission)


# in grading


def test_an_honest_notebook_learns_the_law_drawn_for_its_student(files, provider) -> None:
    for student in ("ada", "bob", "cleo"):
        assert earned(graded(files, read_solution(files.solution), student)) == {"slope": 1.0, "shift": 1.0}


def test_the_law_is_another_one_for_everybody_and_stays_the_same_for_what_one_hands_in(files) -> None:
    homework = load_assignment(files)
    laws = {who: handed_in_grading(homework, keys(who))["slope"].law for who in ("ada", "bob", "cleo")}
    assert len(set(laws.values())) == 3
    again = handed_in_grading(homework, keys("ada", "another submission"))["slope"]
    assert again.law == laws["ada"]
    assert torch.equal(again.tensors["y"], handed_in_grading(homework, keys("ada"))["slope"].tensors["y"])
    assert handed_at_home(files.public_checks)["slope"].law not in laws.values()


def test_the_example_s_parameters_typed_in_earn_nothing(files, provider) -> None:
    law = handed_at_home(files.public_checks)["slope"].law
    typed = "def make_line():\n    line = nn.Linear(1, 1, bias=False)\n"
    typed += f"    line.weight.data.fill_({law})\n    return line\n"
    typed += "def fit(net, x, y, steps=60):\n    return []\n"
    notebook = with_cell(read_solution(files.solution), "slope-answer", typed)
    notebook = with_cell(notebook, "shift-answer", "shift = 1.0")
    assert earned(graded(files, notebook)) == {"slope": 0.0, "shift": 0.0}


def test_the_hidden_function_of_a_name_takes_the_place_of_the_example(files) -> None:
    handed = handed_in_grading(load_assignment(files), keys("ada"))
    assert handed["shift"].law >= 5
    assert handed_at_home(files.public_checks)["shift"].law == 1.0


def test_nothing_but_the_tensors_reaches_the_sandbox(files, monkeypatch) -> None:
    source = ScriptedProvider(good)
    monkeypatch.setattr(module, "provider_of", lambda *arguments: source)
    graded(files, read_solution(files.solution))
    load = source.started[0].requests[0]
    assert {name: set(tensors) for name, tensors in load["data"].items()} == {"slope": {"x", "y"}, "shift": {"shifts"}}
    assert all(type(t) is torch.Tensor for tensors in load["data"].values() for t in tensors.values())
    assert set(load) == {"id", "op", "room", "cells", "files", "data", "seed", "device", "gpu_memory_mb"}


def test_the_data_are_there_again_after_a_cell_has_ended_the_sandbox() -> None:
    source = ForkProvider()
    handed = {"ring": {"x": torch.arange(3.0)}}
    notebook = cells(
        "from autograder import course_data\nx = course_data('ring')['x']\nx += 1\ny = course_data('ring')['x']",
        "import os; os._exit(3)",
        "try:\n    course_data('rung')\nexcept LookupError as error:\n    said = str(error)",
    )
    session = Session(source, notebook, {}, Budgets(), 0, handed=handed)
    try:
        session.play()
        student = Student(session)
        assert student.x.tolist() == [1.0, 2.0, 3.0]
        assert student.y.tolist() == [0.0, 1.0, 2.0]
        assert student.said == "there are no data called 'rung'"
        with pytest.raises(StudentFault, match="ended the process"):
            student.at("b").get("z")
        assert len(source.started) == 2
    finally:
        session.close()
        source.close()


# at home


def test_at_home_everything_runs_on_the_example(files, provider, tmp_path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for name, content in released_files(load_assignment(files)).items():
        (home / name).write_bytes(content)
    notebook = with_cell(read_solution(files.solution), "shift-answer", "shift = float(shifts.mean())")
    (home / f"{NAME}.ipynb").write_text(to_text(notebook))
    results = check_notebook(home / f"{NAME}.ipynb", train=True)
    assert [(result.outcome, result.message) for result in results.checks] == [("passed", "")] * 2


def test_in_a_live_notebook_too(files, monkeypatch) -> None:
    monkeypatch.chdir(files.folder)
    points = course_data("slope")
    points["x"] += 1  # a copy of one's own
    right = handed_at_home(files.public_checks)["slope"]
    assert torch.equal(course_data("slope")["x"], right.tensors["x"])
    line = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(line.weight, right.law)
    for names, outcome in (({"line": line}, "passed"), ({"line": torch.nn.Linear(1, 1)}, "failed")):
        assert [result.outcome for result in public_results(files.public_checks, "slope", names)] == [outcome]


def test_at_home_what_is_missing_gets_a_sentence(files, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no checks\.py beside the notebook"):
        course_data("slope")
    monkeypatch.chdir(files.folder)
    with pytest.raises(UserError, match="hands over no data called 'slop'; there are slope, shift"):
        course_data("slop")


def test_who_sees_the_data_can_not_draw_the_law() -> None:
    law, shown = EXAMPLE.data("ring")
    assert not torch.equal(law.get_state(), shown.get_state())
    assert not torch.equal(EXAMPLE.data("ring")[0].get_state(), EXAMPLE.data("rung")[0].get_state())


# what an author may get wrong


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("(law_rng, rng)", "(rng)", r"line \d+: `slope` hands over data, so it takes \(law_rng, rng\)"),
        ('"slope")\ndef slope', '"slo" + "pe")\ndef slope', "its name written out"),
        ('@hands_over("shift")', '@hands_over("slope")', "hands over 'slope', as line"),
        ('@hands_over("slope")\n', "", 'The template asks `course_data."slope".`'),
    ],
)
def test_a_declaration_that_can_not_work_is_refused(files, before, after, said) -> None:
    assert PUBLIC.count(before) >= 1
    files.public_checks.write_text(PUBLIC.replace(before, after, 1))
    with pytest.raises(UserError, match=said):
        load_assignment(files)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 1 / 0", "which hands over 'slope', failed: ZeroDivisionError"),
        ("return torch.ones(3)", "should return CourseData, got a Tensor"),
        ("return CourseData({'x': 3.0})", "hands over 'x', a float"),
        (f"return CourseData({{'x': torch.zeros({LARGEST} // 4 + 1)}})", "hands over 64 MB; at most 64 MB"),
    ],
)
def test_a_function_that_hands_over_what_it_can_not_is_named(files, body, said) -> None:
    files.public_checks.write_text(PUBLIC.replace('points near the line."""', f'points near the line."""\n    {body}'))
    with pytest.raises(UserError, match=rf"checks\.py: `slope`.*{said}"):
        handed_at_home(files.public_checks).tensors()


def test_a_training_on_drawn_data_takes_no_checkpoint(files) -> None:
    text = files.config.read_text()
    files.config.write_text(text.replace("data: slope", "data: slope, checkpoint: line.pt"))
    with pytest.raises(UserError, match=r"trains on data drawn for each student, so it takes no `checkpoint`"):
        load_assignment(files)
    files.config.write_text(text.replace("data: slope", "data: slip"))
    with pytest.raises(UserError, match=r"`training\.line` trains on 'slip'"):
        load_assignment(files)


def test_weights_handed_in_for_it_are_left_aside_with_a_sentence(files) -> None:
    notes: list[str] = []
    entry = SimpleNamespace(
        is_notebook=False, name="line.PT", parts=("out", "line.PT"), size=3, read=lambda limit: b"abc"
    )
    assert files_beside([entry], load_assignment(files), notes)[0] == {"out/line.PT": b"abc"}
    assert notes == [
        "`out/line.PT` is not loaded as trained weights: the training of `line` is run when the notebook is graded, "
        "on data drawn for you."
    ]
    readme = released_files(load_assignment(files))["README.md"].decode()
    assert "Hand in no weights of `line`: grading trains that on data drawn for you." in readme


def test_hidden_data_without_an_example_is_refused(files) -> None:
    files.hidden_data.write_text(files.hidden_data.read_text().replace('"shift"', '"shaft"'))
    with pytest.raises(UserError, match=r"data\.py hands over 'shaft'; .* has no example of it for students"):
        load_assignment(files)


def test_other_hidden_data_make_other_marks(files) -> None:
    before = load_assignment(files).checks_sha256
    files.hidden_data.write_text(files.hidden_data.read_text() + "# another\n")
    assert load_assignment(files).checks_sha256 != before


def test_the_audit_compares_what_is_drawn_with_the_example(files) -> None:
    assert list(unlike_the_example(load_assignment(files))) == []
    files.hidden_data.write_text(files.hidden_data.read_text().replace("full((8,), law)", "full((8, 1), law)"))
    module = next(
        name for name, found in sys.modules.items() if getattr(found, "__file__", "") == str(files.hidden_data)
    )
    del sys.modules[module]
    (sentence,) = unlike_the_example(load_assignment(files))
    assert sentence == "'shift' as drawn and as the example differ in the name, dtype or shape of `shifts`."


def test_a_name_that_nobody_hands_over_is_the_author_s_mistake(files) -> None:
    with pytest.raises(AuthorError, match="no function hands over 'slop'; there are slope, shift"):
        handed_at_home(files.public_checks)["slop"]


def test_the_audit_knows_the_fixture(files) -> None:
    assert list(lint(files.public_checks)) == []
