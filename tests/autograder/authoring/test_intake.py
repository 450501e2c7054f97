"""An existing notebook is taken in by a short mapping; a mapping that does not fit gets sentences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autograder.authoring.intake import take_in
from autograder.authoring.proposal import propose
from autograder.authoring.template import build_template
from autograder.errors import UserError
from autograder.homework import ipynb
from autograder.homework.assignment import load_assignment
from autograder.homework.files import HomeworkFiles

CELLS = [
    ("markdown", "# Doubling and lines\nFill the blanks."),
    ("code", "%matplotlib inline\nimport torch"),
    ("code", 'def double(x):\n    """2x."""\n    y = x + x\n    return y\n\nprint(double(1))'),
    (
        "code",
        "class BigLine:\n    def __init__(self, slope):\n        self.slope = slope\n\n    def at(self, x): return x",
    ),
    ("code", "loss = double(torch.ones(1, requires_grad=True))\nloss.backward()"),
    ("markdown", "Because it is convex."),
    ("code", "1 + 1"),
]
MAPPING = """\
title: "Doubling: a start"
cells:
  - {cell: 3, task: double, points: 2, hide: ["3-4"], begins: "def double"}
  - {cell: 4, task: double, hide: [3]}
  - {cell: 5, train: line}
  - {cell: 6, by_hand: why, points: 1.5}
  - {cell: 2, locked: setup}
  - {cell: 7, leave_out: true}
"""


@pytest.fixture
def notebook(tmp_path) -> Path:
    cells = [{"cell_type": kind, "metadata": {}, "source": source} for kind, source in CELLS]
    path = tmp_path / "mine.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}))
    return path


@pytest.fixture
def homework(tmp_path) -> HomeworkFiles:
    return HomeworkFiles("hw7", tmp_path / "assignments", tmp_path / "solutions")


def taken(homework: HomeworkFiles, notebook: Path, mapping: str) -> None:
    path = notebook.with_name("cells.yaml")
    path.write_text(mapping)
    take_in(homework, notebook, path)


def test_the_homework_loads_and_its_template_is_the_notebook_with_the_answers_cut_out(homework, notebook):
    taken(homework, notebook, MAPPING)
    assignment = load_assignment(homework)
    assert (assignment.title, assignment.points) == ("Doubling: a start", 3.5)
    assert {name: (cell.points, cell.manual) for name, cell in assignment.cells.items()} == {
        "double": (2, False),
        "why": (1.5, True),
    }
    cells = build_template(homework.solution).cells
    names = [ipynb.grade_id(cell) for cell in cells]
    answers = ["double-answer", "double-answer-2", "double"]
    assert names == [None, "autograder-package", "setup", *answers, None, "why"]
    double, big = cells[3].source, cells[4].source
    assert double.startswith('def double(x):\n    """2x."""\n    # YOUR CODE HERE\n    raise NotImplementedError()\n')
    assert double.endswith("print(double(1))")
    assert "self.slope = slope" not in big
    assert "        # YOUR CODE HERE" in big
    assert ipynb.tags(cells[6]) == ["train", "train:line"]
    assert cells[2].source == CELLS[1][1], "magics are as they were"
    assert "convex" not in cells[7].source


def test_the_proposal_finds_functions_and_trainings_and_can_be_used_as_it_is(homework, notebook):
    proposal = propose(notebook)
    assert 'cell: 3, task: double, points: 1, hide: [3-4], begins: "def double(x):"' in proposal
    assert "cell: 4, task: big-line, points: 1, hide: [3-3]" in proposal
    assert "cell: 5, train: training" in proposal
    taken(homework, notebook, proposal)
    assert load_assignment(homework).points == 2


def test_a_notebook_made_for_nbgrader_keeps_its_names_and_points(homework, tmp_path):
    marks = {"schema_version": 3, "locked": False, "grade": True, "solution": True, "grade_id": "proof", "points": 2}
    cells = [{"cell_type": "markdown", "metadata": {"nbgrader": marks}, "source": "Because."}]
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}))
    assert "cell: 1, by_hand: proof, points: 2" in propose(path)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("cell: 7", "cell: 70", "cell 70 is not there; the notebook has 7 cells"),
        ("cell: 7", "cell: 6", "cell 6 is listed 2 times"),
        ('begins: "def double"', 'begins: "def triple"', "cell 3 should begin with 'def triple' and begins with 'def"),
        ("leave_out: true", "leave_out: true, train: line", "cell 7 is said to be `train` and `leave_out`; say one of"),
        (", leave_out: true", "", "cell 7 is said to be nothing; say one of `task`"),
        ("by_hand: why", "task: why", "cell 6 is text, which no check grades"),
        ("by_hand: why, points: 1.5", "by_hand: why", "cell 6 is graded by hand and has no `points`"),
        ("train: line", "train: line, points: 2", "cell 5 has `points`, but is neither"),
        ("train: line", "train: line, hide: [1]", "cell 5 has lines to `hide`, but is no answer"),
        ('["3-4"]', '["3-40"]', "cell 3 hides 3-40; it has the lines 1 to 6"),
        ('["3-4"]', '["3-4", 4]', "cell 3 hides 4 after 3-4; lines go up and do not overlap"),
        ('["3-4"]', '["three"]', "cell 3 hides 'three'; write a line as 4 and lines as"),
        ("task: double, hide", "task: double, points: 1, hide", "the points of the task `double` stand with one of"),
        ("task: double, points: 2", "task: double", "the points of the task `double` stand with one of its cells; no"),
        ("by_hand: why", "by_hand: double", "the name `double` is used twice"),
        ("task: double, hide", "task: do it, hide", "task"),
        ("title: ", "titel: ", "titel"),
    ],
)  # fmt: skip
def test_a_mapping_that_does_not_fit_gets_a_sentence(homework, notebook, old, new, sentence):
    assert MAPPING.count(old) == 1
    with pytest.raises(UserError) as caught:
        taken(homework, notebook, MAPPING.replace(old, new))
    assert sentence in str(caught.value)
    assert not homework.folder.exists()
    assert not homework.hidden.exists()


def test_what_is_no_notebook_gets_a_sentence(homework, tmp_path):
    (tmp_path / "text.ipynb").write_text("no notebook")
    with pytest.raises(UserError, match=r"text\.ipynb is not a notebook"):
        propose(tmp_path / "text.ipynb")
    with pytest.raises(UserError, match=r"none\.ipynb does not exist"):
        propose(tmp_path / "none.ipynb")
