"""Which trained cells an edit can change is read off the notebook."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from autograder.authoring.reached import Trainings
from autograder.homework import ipynb
from autograder.homework.checkfile import read_checks

CELLS = {
    "tools": "import math",
    "net-answer": "class Net:\n    def __init__(self):\n        self.size = width(1)\n",
    "width-answer": "def width(n):\n    return n + 1\n",
    "unused-answer": "def unused(x):\n    loss = x\n    return loss\n",
    "helper-answer": "def asked(x):\n    return x\n",
    "show": "with open('p'):\n    loss = unused(3)\n",
    "build-answer": "def make():\n    return Net()\n",
    "run": "for _ in range(3):\n    loss = make()\nmodel = loss\n",
    "other-run": "other = unused(4)\n",
}
TAGS = {"run": ["train:ring"], "other-run": ["train:other"]}
CHECKS = """
from autograder.checks import graded

def helps(student):
    return student.asked(1)

@graded("ring", points=1, trains="ring")
def test_ring(student):
    '''Holds.'''
    assert helps(student)

@graded("other", points=1, trains="other")
def test_other(student):
    '''Holds.'''
    assert student.trained("other")

@graded("plain", points=1)
def test_plain(student):
    '''Holds.'''
    assert student.unused(1)
"""


def notebook(**changed):
    cells = []
    for name, source in CELLS.items():
        cell = new_code_cell(changed.get(name.replace("-", "_"), source))
        cell.metadata = {"nbgrader": {"grade_id": name, "grade": False, "solution": True}, "tags": TAGS.get(name, [])}
        cells.append(cell)
    assert all(ipynb.grade_id(cell) for cell in cells)
    return new_notebook(cells=cells)


@pytest.fixture
def trainings(tmp_path):
    path = tmp_path / "checks.py"
    path.write_text(CHECKS)
    training = {
        "ring": SimpleNamespace(name="model", build="make"),
        "other": SimpleNamespace(name="other", build="make_other"),
    }
    assignment = SimpleNamespace(
        checks=read_checks(path, public=False),
        config=SimpleNamespace(training=training),
        files=SimpleNamespace(assignments=tmp_path, solutions=None),
    )
    return Trainings.of(assignment, notebook())


@pytest.mark.parametrize(
    ("cell", "source", "left_alone"),
    [
        ("width_answer", "def width(n):\n    return n\n", {"other"}),  # two steps away: make, Net, width
        ("net_answer", "class Net:\n    pass\n", {"other"}),
        ("run", "model = make()\n", {"other"}),
        ("helper_answer", "def asked(x):\n    return -x\n", {"other"}),  # by a function that the check hands `student`
        ("unused_answer", "def unused(x):\n    return 0\n", {"ring"}),  # `loss` is the training's own before it is read
        ("unused_answer", "def unused(x):\n    return 0\ndef make():\n    return 3\n", set()),  # binds a name anew
        ("show", "with open('p'):\n    pass\n", set()),  # it does more than to bind names
        ("unused_answer", "def unused(x):\n    return 0\nprint(3)\n", set()),
        ("unused_answer", "def unused(x:\n", set()),  # nobody knows what it does
        ("unused_answer", "import torch\nX = 3\ndef unused(x):\n    global make\n    make = 3\n", set()),
        ("tools", "import math, cmath", {"ring", "other"}),
    ],
)
def test_an_edit_leaves_the_trainings_alone_that_do_not_use_what_it_defines(trainings, cell, source, left_alone):
    assert trainings.left_alone_by(notebook(**{cell: source})) == left_alone


def test_a_name_that_a_training_reads_before_it_binds_it_is_reached(tmp_path, trainings):
    assert trainings.reach["ring"].cells == {"run", "build-answer", "net-answer", "width-answer", "helper-answer"}
    assert trainings.reach["other"].cells == {"other-run", "unused-answer"}
