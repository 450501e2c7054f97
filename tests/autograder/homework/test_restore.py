"""Restoring a mangled notebook: what runs, in which order, and where each task ends.

The oracle is a notebook runner of ten lines: it executes the restored cells in order and remembers the names at each
graded cell, so a test says what a check would find.
"""

from __future__ import annotations

import copy
import random
import time
from pathlib import Path
from typing import Any

import pytest
from nbformat import NotebookNode

from autograder.homework import ipynb
from autograder.homework.first_cell import GRADE_ID, first_cell
from autograder.homework.restore import Restored, restore
from tests.autograder.course_factory import ANSWERS, answered, make_repository


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> NotebookNode:
    return make_repository(tmp_path_factory.mktemp("course")).load().template


def run(restored: Restored) -> dict[str, dict[str, Any]]:
    """Names as of the end of each task."""
    names: dict[str, Any] = {"check": lambda name: None}
    ends = {}
    for cell in restored.cells:
        if cell["kind"] == "code" and "train" not in cell["tags"]:
            try:
                exec(cell["source"].replace("from autograder import check", ""), names)
            except Exception as error:
                names["error"] = error
        if cell["grade_id"]:
            ends[cell["grade_id"]] = dict(names)
    return ends


def said(notebook: NotebookNode, grade_id: str) -> str:
    """The cell, by its first line."""
    return f"The cell that begins with `{named(notebook, grade_id).source.splitlines()[0]}`"


def doubles(restored: Restored) -> bool:
    return run(restored)["double"]["double"](21) == 42


def named(notebook: NotebookNode, grade_id: str) -> NotebookNode:
    return next(cell for cell in notebook.cells if ipynb.grade_id(cell) == grade_id)


def position(notebook: NotebookNode, grade_id: str) -> int:
    return notebook.cells.index(named(notebook, grade_id))


def own(source: str, kind: str = "code") -> NotebookNode:
    return NotebookNode(cell_type=kind, source=source, metadata=NotebookNode(), id="")


def test_an_untouched_submission_runs_as_it_is_without_notes(template: NotebookNode) -> None:
    restored = restore(answered(template), template)
    assert restored.notes == []
    code = [cell for cell in restored.cells if cell["kind"] == "code"]
    assert [cell["number"] for cell in code] == [2, 4, 5, 7, 8, 9]
    assert [cell["grade_id"] for cell in code] == [None, None, "double", None, None, "line"]
    assert [cell["tags"] for cell in code] == [[], [], [], [], ["train", "train:line"], []]
    assert doubles(restored)


def test_a_changed_locked_cell_has_the_templates_text_again(template: NotebookNode) -> None:
    notebook = answered(template)
    named(notebook, "double").source = "score = 15"
    restored = restore(notebook, template)
    assert "score" not in run(restored)["double"]
    assert restored.notes == [
        f"{said(template, 'double')} is locked, and yours was another one: the course's own was run."
    ]


def test_the_cell_that_fetches_the_package_may_be_that_of_an_earlier_release(template: NotebookNode) -> None:
    fetches = copy.deepcopy(named(template, "double"))
    fetches.metadata.nbgrader |= {"grade_id": GRADE_ID, "grade": False}
    fetches.source = first_cell("https://course.example/hw0")
    released = copy.deepcopy(template)
    released.cells.insert(0, fetches)
    notebook = answered(released)
    notebook.cells[0].source = first_cell("https://elsewhere.example/hw0")
    restored = restore(notebook, released)
    assert restored.notes == []
    assert restored.cells[0]["source"] == fetches.source


def test_a_deleted_graded_cell_still_ends_its_task_below_the_answer(template: NotebookNode) -> None:
    notebook = answered(template)
    notebook.cells.remove(named(notebook, "double"))
    notebook.cells.insert(position(notebook, "double-answer") + 1, own("mine = 1"))
    restored = restore(notebook, template)
    assert doubles(restored)
    assert run(restored)["double"]["mine"] == 1
    assert "Line" not in run(restored)["double"]


def test_a_deleted_setup_cell_runs_first(template: NotebookNode) -> None:
    notebook = answered(template)
    notebook.cells.remove(named(notebook, "setup"))
    restored = restore(notebook, template)
    assert next(c["source"] for c in restored.cells if c["kind"] == "code").startswith("import torch")
    assert "Line" in run(restored)["line"]


def test_a_setup_cell_moved_to_the_end_runs_first(template: NotebookNode) -> None:
    notebook = answered(template)
    setup = named(notebook, "setup")
    notebook.cells.remove(setup)
    notebook.cells.append(setup)
    restored = restore(notebook, template)
    assert "Line" in run(restored)["line"]


def test_a_deleted_answer_costs_its_own_task_only(template: NotebookNode) -> None:
    notebook = answered(template)
    notebook.cells.remove(named(notebook, "double-answer"))
    ends = run(restore(notebook, template))
    assert "double" not in ends["double"]
    assert "Line" in ends["line"]


def test_a_graded_cell_above_its_answer_ends_the_task_below_it(template: NotebookNode) -> None:
    notebook = answered(template)
    gate = named(notebook, "double")
    notebook.cells.remove(gate)
    notebook.cells.insert(1, gate)
    assert doubles(restore(notebook, template))


def test_tasks_in_reverse_order_are_each_found(template: NotebookNode) -> None:
    notebook = answered(template)
    cells = notebook.cells
    notebook.cells = cells[:2] + cells[5:9] + cells[2:5] + cells[9:]
    ends = run(restore(notebook, template))
    assert ends["double"]["double"](1) == 2
    assert "Line" in ends["line"]


def test_of_two_answered_copies_the_last_above_the_graded_cell_counts(template: NotebookNode) -> None:
    notebook = answered(template)
    again = copy.deepcopy(named(notebook, "double-answer"))
    named(notebook, "double-answer").source = "def double(x): return 0"
    notebook.cells.insert(position(notebook, "double"), again)
    assert doubles(restore(notebook, template))


def test_an_unanswered_copy_does_not_undo_the_answer(template: NotebookNode) -> None:
    notebook = answered(template)
    notebook.cells.insert(position(notebook, "double"), copy.deepcopy(named(template, "double-answer")))
    restored = restore(notebook, template)
    assert doubles(restored)
    assert restored.notes == [
        f"{said(template, 'double-answer')} is an unanswered copy of another cell and was left out."
    ]


def test_an_answer_given_in_the_copy_below_the_graded_cell_counts(template: NotebookNode) -> None:
    notebook = answered(template)
    filled = copy.deepcopy(named(notebook, "double-answer"))
    named(notebook, "double-answer").source = named(template, "double-answer").source
    notebook.cells.insert(position(notebook, "double") + 1, filled)
    assert doubles(restore(notebook, template))


def test_a_copy_edited_for_a_later_task_leaves_the_earlier_task_alone(template: NotebookNode) -> None:
    notebook = answered(template)
    later = copy.deepcopy(named(notebook, "double-answer"))
    later.source = "def double(x): return 'for the line'"
    notebook.cells.insert(position(notebook, "line-answer"), later)
    ends = run(restore(notebook, template))
    assert ends["double"]["double"](21) == 42
    assert ends["line"]["double"](21) == "for the line"


def test_a_task_done_again_with_both_its_cells_counts_the_second_time(template: NotebookNode) -> None:
    notebook = answered(template)
    first = position(notebook, "double-answer")
    task = copy.deepcopy(notebook.cells[first : first + 2])
    notebook.cells[first].source = "def double(x): return 0"
    notebook.cells[first + 2 : first + 2] = task
    restored = restore(notebook, template)
    assert doubles(restored)
    assert sum(cell["grade_id"] == "double" for cell in restored.cells) == 1


@pytest.mark.parametrize("kind", ["markdown", "raw"])
def test_an_answer_retyped_as_text_runs(template: NotebookNode, kind: str) -> None:
    notebook = answered(template)
    named(notebook, "double-answer").cell_type = kind
    named(notebook, "double").cell_type = kind
    restored = restore(notebook, template)
    assert doubles(restored)
    assert restored.notes[0] == f"{said(notebook, 'double-answer')} was made {kind}; it was run as code again."


def test_without_any_metadata_every_cell_is_recognised(template: NotebookNode) -> None:
    notebook = answered(template)
    for cell in notebook.cells:
        cell.metadata, cell["id"] = NotebookNode(), ""
    notebook.cells.insert(0, own("!pip install einops"))
    restored = restore(notebook, template)
    assert restored.notes == []
    assert doubles(restored)
    assert [c["number"] for c in restored.cells if c["tags"] == ["train", "train:line"]] == [9]
    assert "parabola" in restored.answers["why"]


def test_a_manual_answer_and_the_text_added_below_it_reach_the_human(template: NotebookNode) -> None:
    notebook = answered(template)
    notebook.cells.append(own("And more below.", "markdown"))
    assert restore(notebook, template).answers == {"why": ANSWERS["why"].strip() + "\n\nAnd more below."}


def test_a_blank_manual_cell_is_no_answer(template: NotebookNode) -> None:
    assert restore(copy.deepcopy(template), template).answers == {"why": ""}


def test_tags_of_the_students_own_make_no_cell_disappear(template: NotebookNode) -> None:
    notebook = answered(template)
    named(notebook, "double-answer").metadata["tags"] = ["train"]
    assert doubles(restore(notebook, template))


def test_an_own_cell_keeps_the_train_tags_the_template_knows_and_no_others(template: NotebookNode) -> None:
    notebook = answered(template)
    for source, tags in (("second = 1", ["train", "train:line"]), ("other = 1", ["train:other", "skip"])):
        cell = own(source)
        cell.metadata["tags"] = tags
        notebook.cells.append(cell)
    second, other = restore(notebook, template).cells[-2:]
    assert (second["source"], second["tags"]) == ("second = 1", ["train", "train:line"])
    assert (other["source"], other["tags"]) == ("other = 1", [])


def test_a_graded_name_on_a_students_own_cell_is_not_a_second_graded_cell(template: NotebookNode) -> None:
    notebook = answered(template)
    forged = own("def double(x): return 0")
    forged.metadata = copy.deepcopy(named(notebook, "double").metadata)
    notebook.cells.append(forged)
    restored = restore(notebook, template)
    assert doubles(restored)
    assert all("return 0" not in cell["source"] for cell in restored.cells)


def test_a_cell_of_a_million_characters_is_emptied_and_named(template: NotebookNode) -> None:
    notebook = answered(template)
    notebook.cells.insert(0, own("x = 1 #" + "y" * 1_000_000))
    restored = restore(notebook, template)
    assert sum(len(cell["source"]) for cell in restored.cells) < 10_000
    assert restored.notes == [
        f"The cell that begins with `x = 1 #{'y' * 53}` is too long (1000007 characters) and was not run."
    ]


def test_two_thousand_copies_of_every_cell_take_less_than_three_seconds_of_a_processor(template: NotebookNode) -> None:
    for source in (template, answered(template)):
        notebook = copy.deepcopy(source)
        notebook.cells = [copy.deepcopy(random.choice(source.cells)) for _ in range(2000)]
        for cell in notebook.cells[::2]:
            cell.metadata, cell["id"] = NotebookNode(), ""
        begin = time.process_time()
        restored = restore(notebook, template)
        assert time.process_time() - begin < 3
        assert {c["grade_id"] for c in restored.cells} == {None, "double", "line"}


@pytest.mark.parametrize("seed", range(200))
def test_any_mangling_leaves_every_graded_cell_exactly_once(template: NotebookNode, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    notebook = answered(template)
    for _ in range(chance.randrange(1, 12)):
        cells = notebook.cells
        spot = chance.randrange(len(cells)) if cells else 0
        act = chance.choice(["delete", "copy", "move", "retype", "strip", "edit", "add"])
        if act == "add" or not cells:
            cells.insert(spot, own("added = 1", chance.choice(["code", "markdown", "raw"])))
        elif act == "delete":
            del cells[spot]
        elif act == "copy":
            cells.insert(chance.randrange(len(cells) + 1), copy.deepcopy(cells[spot]))
        elif act == "move":
            cells.insert(chance.randrange(len(cells)), cells.pop(spot))
        elif act == "retype":
            cells[spot].cell_type = chance.choice(["code", "markdown", "raw"])
        elif act == "strip":
            cells[spot].metadata, cells[spot]["id"] = NotebookNode(), ""
        else:
            cells[spot].source += "\nedited = 1"
    restored = restore(notebook, template)
    assert sorted(c["grade_id"] for c in restored.cells if c["grade_id"]) == ["double", "line"]
    for cell in restored.cells:
        if cell["grade_id"]:
            assert cell["source"] == f'check("{cell["grade_id"]}")'
    numbers = [cell["number"] for cell in restored.cells if cell["number"]]
    assert len(set(numbers)) == len(numbers)
