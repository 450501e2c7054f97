"""A homework of two points whose data are drawn for each student: a slope to be learned, in grading by everybody anew.

slope  1 point     public, on trained weights: at home the example's slope, in grading the drawn one
shift  1 point     hidden, on the data that `data.py` draws in the place of the example
"""

from __future__ import annotations

import copy
from pathlib import Path

from nbformat import NotebookNode

from autograder.authoring.template import build_template
from autograder.homework.files import HomeworkFiles
from autograder.homework.ipynb import to_text

NAME = "hw9"

SOLUTION = '''\
# %% nbgrader={"grade": false, "solution": false, "locked": true, "grade_id": "data"}
import torch
from torch import nn

from autograder import check, course_data

points = course_data("slope")
shifts = course_data("shift")["shifts"]

# %% [markdown]
# ## 1. Slope
# `points["y"]` is a slope times `points["x"]`, with noise.

# %% nbgrader={"grade": false, "solution": true, "grade_id": "slope-answer"}
def make_line():
    return nn.Linear(1, 1, bias=False)


def fit(net, x, y, steps=60):
    """Train net in place; returns the losses."""
    ### BEGIN SOLUTION
    losses = []
    for _ in range(steps):
        loss = ((net(x) - y) ** 2).mean()
        net.zero_grad()
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():  # by hand: importing torch.optim takes longer than all else here
            for parameter in net.parameters():
                parameter -= 0.5 * parameter.grad
    return losses
    ### END SOLUTION

# %% tags=["train", "train:line"]
line = make_line()
fit(line, points["x"], points["y"])

# %% nbgrader={"grade": true, "solution": false, "locked": true, "grade_id": "slope", "points": 1}
check("slope")

# %% [markdown]
# ## 2. Shift

# %% nbgrader={"grade": false, "solution": true, "grade_id": "shift-answer"}
### BEGIN SOLUTION
shift = float(shifts.mean())
### END SOLUTION

# %% nbgrader={"grade": true, "solution": false, "locked": true, "grade_id": "shift", "points": 1}
check("shift")
'''

ASSIGNMENT_YAML = f"""\
name: {NAME}
title: Lines drawn for everybody
points: 2
budgets: {{cell_seconds: 10, check_seconds: 10, train_seconds: 20, submission_seconds: 60, memory_mb: 1024}}
training:
  line: {{name: line, build: make_line, data: slope}}
"""

PUBLIC = '''\
import torch

from autograder.checks import CourseData, Wrong, graded, hands_over


@hands_over("slope")
def slope(law_rng, rng):
    """A slope between 2 and 4, and 64 points near the line."""
    slope = float(2 + 2 * torch.rand((), generator=law_rng))
    x = torch.randn(64, 1, generator=rng)
    return CourseData({"x": x, "y": slope * x + 0.001 * torch.randn(64, 1, generator=rng)}, slope)


@hands_over("shift")
def example(law_rng, rng):
    """Eight numbers near 1."""
    return CourseData({"shifts": torch.ones(8)}, 1.0)


@graded("slope", points=1, trains="line")
def test_the_trained_line_has_the_slope(student, course_data):
    """The trained line has the slope of the points."""
    found = float(student.trained("line").line(torch.ones(1, 1)))
    if not abs(found - course_data("slope").law) < 0.01:
        raise Wrong(f"the slope is off by {abs(found - course_data('slope').law):.3f}")


@graded("shift", points=0)
def test_the_shift_is_a_number(student):
    """The shift is a number."""
    assert isinstance(student.shift, float)
'''

HIDDEN = '''\
from autograder.checks import Wrong, graded

from .data import NEAR


@graded("shift", points=1)
def test_the_shift_is_the_drawn_one(student, course_data):
    """The shift is that of the numbers."""
    if not abs(student.shift - course_data("shift").law) < NEAR:
        raise Wrong("it is another one")
'''

DATA = """\
import torch

from autograder.checks import CourseData, hands_over

NEAR = 1e-6


@hands_over("shift")
def drawn(law_rng, rng):
    law = float(torch.randint(5, 1000, (), generator=law_rng))
    return CourseData({"shifts": torch.full((8,), law)}, law)
"""


def make_drawn(root: Path) -> HomeworkFiles:
    """Write the homework's files below `root`."""
    files = HomeworkFiles(NAME, root / "assignments", root / "solutions")
    files.folder.mkdir(parents=True)
    files.hidden.mkdir(parents=True)
    files.solution.write_text(SOLUTION)
    (files.hidden / "checks.py").write_text(HIDDEN)
    files.hidden_data.write_text(DATA)
    files.config.write_text(ASSIGNMENT_YAML)
    files.public_checks.write_text(PUBLIC)
    files.template().write_text(to_text(build_template(files.solution)))
    return files


def with_cell(notebook: NotebookNode, name: str, source: str) -> NotebookNode:
    """The notebook with another source in the cell called `name`."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == name:
            cell.source = source
    return notebook
