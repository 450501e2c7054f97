"""A homework of four points, small enough to grade in a second, for tests of everything around it.

double  2 points    a function, one public and one hidden check (the hidden one parametrised)
line    1 point     a model with a training task `line`, one public and one hidden check
why     1 point     a manual cell
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from autograder.authoring.template import build_template
from autograder.homework.assignment import Assignment, load_assignment
from autograder.homework.files import HomeworkFiles
from autograder.homework.ipynb import to_text

NAME = "hw0"

SOLUTION = '''\
# %% [markdown]
# # Homework 0: doubling
# Fill the cells below.

# %% nbgrader={"grade": false, "solution": false, "locked": true, "grade_id": "setup"}
import torch
from torch import nn

from autograder import check

# %% [markdown]
# ## 1. Double
# `double(x)` returns twice its argument, a tensor of any shape.

# %% nbgrader={"grade": false, "solution": true, "grade_id": "double-answer"}
def double(x):
    """Return 2x."""
    ### BEGIN SOLUTION
    twice_the_argument = x + x
    return twice_the_argument
    ### END SOLUTION

# %% nbgrader={"grade": true, "solution": false, "locked": true, "grade_id": "double", "points": 2}
check("double")

# %% [markdown]
# ## 2. Line
# `Line()` is a module with one parameter `slope`; `make_line()` builds an untrained one.

# %% nbgrader={"grade": false, "solution": true, "grade_id": "line-answer"}
class Line(nn.Module):
    def __init__(self):
        super().__init__()
        ### BEGIN SOLUTION
        self.slope = nn.Parameter(torch.zeros(()))
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        return self.slope * x
        ### END SOLUTION


def make_line():
    return Line()

# %% tags=["train", "train:line"]
line = make_line()
for step in range(60):
    x = torch.linspace(-1, 1, 16)
    loss = ((line(x) - 3 * x) ** 2).mean()
    loss.backward()
    with torch.no_grad():  # by hand: importing torch.optim takes longer than all else here
        line.slope -= line.slope.grad
        line.slope.grad = None

# %% nbgrader={"grade": true, "solution": false, "locked": true, "grade_id": "line", "points": 1}
check("line")

# %% [markdown] nbgrader={"grade": true, "solution": true, "grade_id": "why", "points": 1}
# Why does the slope end near 3?
#
# ### BEGIN SOLUTION
# Because the loss is convex and its only minimum lies at slope 3.
# ### END SOLUTION

# %% [markdown] tags=["rubric"]
# - 0.6 calls the loss a convex function of the slope
# - 0.4 names the place of its only minimum
#
# A picture of the parabola earns both.
'''

ASSIGNMENT_YAML = f"""\
name: {NAME}
title: Doubling
points: 4
budgets:
  cell_seconds: 10
  check_seconds: 10
  train_seconds: 20
  submission_seconds: 60
  memory_mb: 1024
training:
  line:
    name: line
    checkpoint: line.pt
    build: make_line
"""

PUBLIC_CHECKS = '''\
import pytest
import torch


@pytest.mark.graded("double", points=0.5)
def test_double_of_one_is_two(student):
    """Doubling 1 gives 2."""
    answer = student.double(torch.ones(3))
    assert torch.allclose(answer, torch.full((3,), 2.0))


@pytest.mark.graded("line", points=0.4)
def test_line_is_zero_at_zero(student):
    """An untrained line goes through the origin."""
    answer = student.Line()(torch.zeros(4))
    assert torch.equal(answer, torch.zeros(4))
'''

HIDDEN_CHECKS = '''\
import pytest
import torch


@pytest.mark.parametrize("shape", [(), (2, 3), (64,)])
@pytest.mark.graded("double", points=1.5)
def test_double_of_noise(student, rng, shape):
    """Doubling works for every shape."""
    secret_input = torch.randn(shape, generator=rng)
    answer = student.double(secret_input)
    assert torch.allclose(answer, 2 * secret_input)


@pytest.mark.graded("line", points=0.6, seconds=20, trains="line")
def test_trained_slope_is_three(student):
    """The trained line has slope 3."""
    slope = float(student.trained("line").line(torch.ones(())))
    assert abs(slope - 3) < 0.1
'''

VARIANTS = {  # files of solutions/hw0/variants, whose audit is clean
    "right_object.py": '''\
"""An object that can be called, in the place of a function."""

# %% double-answer
class Double:
    def __call__(self, x): return x * 2
double = Double()
''',
    "wrong.yaml": """\
wrong:
  - name: wrong-factor
    why: Three times instead of twice.
    loses: [double]
    edits:
      - {cell: double-answer, find: x + x, replace: 3 * x}
  - name: wrong-shift
    why: The line does not go through the origin.
    loses: [line]
    edits:
      - {cell: line-answer, find: self.slope * x, replace: self.slope * x + 1}
""",
    "cheat_twos.py": '''\
"""Always the same number."""

# %% double-answer
import torch
def double(x): return torch.full_like(x, 2.5)
''',
}

ANSWERS = {
    "double-answer": 'def double(x):\n    """Return 2x."""\n    return 2 * x\n',
    "line-answer": (
        "class Line(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.slope = nn.Parameter(torch.zeros(()))\n\n    def forward(self, x):\n"
        "        return self.slope * x\n\n\ndef make_line():\n    return Line()\n"
    ),
    "why": "Why does the slope end near 3?\n\nA parabola has one lowest point.\n",
}


@dataclass(frozen=True)
class Repository:
    """Where the small homework was written."""

    root: Path
    assignments: Path
    solutions: Path

    @property
    def files(self) -> HomeworkFiles:
        return HomeworkFiles(NAME, self.assignments, self.solutions)

    def load(self, *, student: bool = False) -> Assignment:
        """The assignment as the grader, or a student's machine, loads it."""
        return load_assignment(HomeworkFiles(NAME, self.assignments, None if student else self.solutions))


def make_repository(root: Path) -> Repository:
    """Write the homework's files below `root` (assignments/hw0, solutions/hw0)."""
    repository = Repository(root, root / "assignments", root / "solutions")
    public, hidden = repository.assignments / NAME, repository.solutions / NAME
    public.mkdir(parents=True)
    hidden.mkdir(parents=True)
    (hidden / f"{NAME}.py").write_text(SOLUTION)
    (hidden / "checks.py").write_text(HIDDEN_CHECKS)
    (public / "assignment.yaml").write_text(ASSIGNMENT_YAML)
    (public / "checks.py").write_text(PUBLIC_CHECKS)
    (public / f"{NAME}.ipynb").write_text(to_text(build_template(hidden / f"{NAME}.py")))
    return repository


def plant_variants(repository: Repository, files: Mapping[str, str] = VARIANTS) -> Path:
    """Write the homework's variants and return their folder."""
    folder = repository.files.variants
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def answered(template: NotebookNode, answers: dict[str, str] | None = None) -> NotebookNode:
    """A submission: the template with the cells named by grade_id replaced (default: right answers to everything)."""
    notebook = copy.deepcopy(template)
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell.source = (ANSWERS if answers is None else answers).get(name, cell.source)
    return notebook


def to_bytes(notebook: NotebookNode) -> bytes:
    """The notebook as a file."""
    return to_text(notebook).encode()


def points_of(assignment: Assignment) -> dict[str, float]:
    """Points of every cell."""
    return {name: cell.points for name, cell in assignment.cells.items()}


def blank_bytes(cells: list[dict[str, object]]) -> bytes:
    """A notebook file with exactly these cells, valid or not."""
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()
