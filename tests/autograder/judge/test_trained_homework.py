"""The example of `docs/writing-checks.md`, a trained part with a drawn law, is a homework that works.

Its checks are the document's own words; here stand the law, the notebook, and what must earn nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.authoring.template import build_template
from autograder.homework.files import HomeworkFiles
from autograder.homework.ipynb import to_text
from autograder.judge import grade as module
from autograder.judge.grade import grade
from autograder.judge.job import Job
from autograder.judge.model_answers import read_solution
from autograder.report import Report
from autograder.submission import Submission
from tests.autograder.drawn_homework import with_cell
from tests.autograder.providers import ForkProvider

ROOT = Path(__file__).parents[3]

LAW = """
import math
from dataclasses import dataclass

import torch

from autograder.checks import (
    CourseData,
    assert_answers_from_weights,
    assert_fresh,
    assert_learns,
    assert_score,
    assert_weights_matter,
    call,
    graded,
    hands_over,
    records,
    run_fit,
    train_network,
)

STD = 0.2


@dataclass(frozen=True)
class Ring:
    radius: float
    turn: float

    def centres(self):
        angles = self.turn + torch.arange(8) * math.pi / 4
        return self.radius * torch.stack([angles.cos(), angles.sin()], 1)

    def draw(self, n, rng):
        return self.centres()[torch.randint(8, (n,), generator=rng)] + STD * torch.randn(n, 2, generator=rng)

    def velocity(self, x, t):
        t, m = t[:, None, None], self.centres()
        variance = (t * STD) ** 2 + (1 - t) ** 2
        away = x[:, None] - t * m  # (B, 8, 2)
        share = (-away.square().sum(2) / (2 * variance[:, :, 0])).softmax(1)
        each = m + (t * STD**2 - (1 - t)) / variance * away
        return (share[:, :, None] * each).sum(1)


QUARTER_TURN = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])


def on_the_way(law, n, rng):
    t = 0.9 * torch.rand(n, generator=rng)
    return t[:, None] * law.draw(n, rng) + (1 - t)[:, None] * torch.randn(n, 2, generator=rng), t


def velocity_error(net, law, rng):
    x, t = on_the_way(law, 1000, rng)
    return float((call(net, x, t, mode="eval") - law.velocity(x, t)).square().mean())


def other_law(rng):
    return Ring(1 + float(torch.rand((), generator=rng)), float(torch.rand((), generator=rng)))
"""

SOLUTION = """\
# %% nbgrader={"grade": false, "solution": false, "locked": true, "grade_id": "data"}
import torch
from torch import nn

from autograder import check, course_data

ring_train = course_data("ring")["ring_train"]

# %% [markdown]
# ## 1. A ring

# %% nbgrader={"grade": false, "solution": true, "grade_id": "ring-answer"}
### BEGIN SOLUTION
class Velocity(nn.Module):
    def __init__(self):
        super().__init__()
        layers = [nn.Linear(3, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x, t):
        return self.layers(torch.cat([x, t[:, None]], 1))


def make_ring_model():
    return Velocity()


def fit(net, x_1, steps, batch_size=256, lr=3e-3):
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        x = x_1[torch.randint(len(x_1), (batch_size,))]
        noise, t = torch.randn_like(x), torch.rand(batch_size)
        loss = (net((1 - t)[:, None] * noise + t[:, None] * x, t) - (x - noise)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
### END SOLUTION

# %% tags=["train", "train:ring"] nbgrader={"grade": false, "solution": true, "grade_id": "ring-run"}
### BEGIN SOLUTION
ring_model = make_ring_model()
fit(ring_model, ring_train, steps=1200)
### END SOLUTION

# %% nbgrader={"grade": true, "solution": false, "locked": true, "grade_id": "train-ring", "points": 1}
check("train-ring")
"""

CONFIG = """\
name: hw8
title: A ring
points: 1
budgets: {cell_seconds: 20, check_seconds: 20, train_seconds: 60, submission_seconds: 300}
training:
  ring: { name: ring_model, build: make_ring_model, data: ring }
"""

KERNEL = """
class Kernel(nn.Module):
    def __init__(self, points=None):
        super().__init__()
        self.register_buffer("points", torch.zeros(8000, 2) if points is None else points)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x, t):
        t = t[:, None].clamp(max=0.95)
        weights = (-(x[:, None] - t[:, :, None] * self.points).square().sum(2) / (2 * (1 - t) ** 2)).softmax(1)
        return self.scale * (weights @ self.points - x) / (1 - t)
"""


def document(section: str) -> str:
    """The longest block of code in a section of the document."""
    text = (ROOT / "docs/writing-checks.md").read_text(encoding="utf-8")
    body = text.partition(f"## {section}\n")[2].partition("\n## ")[0]
    return max(re.findall(r"```python\n(.*?)```", body, re.DOTALL), key=len)


@pytest.fixture
def files(tmp_path: Path) -> HomeworkFiles:
    files = HomeworkFiles("hw8", tmp_path / "assignments", tmp_path / "solutions")
    files.folder.mkdir(parents=True)
    files.hidden.mkdir(parents=True)
    files.solution.write_text(SOLUTION)
    files.config.write_text(CONFIG)
    files.public_checks.write_text("\n\n".join([LAW, document("Data from the judge"), document("Trained parts")]))
    (files.hidden / "checks.py").write_text("")
    files.template().write_text(to_text(build_template(files.solution)))
    return files


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkProvider]:
    source = ForkProvider()
    monkeypatch.setattr(module, "provider_of", lambda *arguments: source)
    yield source
    source.close()


def graded(files: HomeworkFiles, answers: dict[str, str], student: str = "ada") -> Report:
    notebook = read_solution(files.solution)
    for name, source in answers.items():
        notebook = with_cell(notebook, name, source)
    return grade(Job(files, Submission.of(student, to_text(notebook).encode()), "process", salt=3))


def said(report: Report) -> list[tuple[str, str]]:
    return [(check.outcome, check.message) for check in report.checks]


def test_an_honest_notebook_earns_all_under_laws_of_its_own(files, provider) -> None:
    for student in ("ada", "bob"):
        report = graded(files, {}, student)
        assert report.earned == 1, said(report)


def test_a_kernel_over_the_training_points_keeps_what_its_fit_earns(files, provider) -> None:
    answer = SOLUTION.partition("### BEGIN SOLUTION\n")[2].partition("### END")[0]
    swapped = answer.replace("return Velocity()", "return Kernel()") + KERNEL
    report = graded(files, {"ring-answer": swapped, "ring-run": "ring_model = Kernel(ring_train)"})
    assert report.earned == 0.3, said(report)
    assert "does not learn: trained anew" in said(report)[2][1]


def test_the_velocity_of_the_example_and_a_fit_of_its_own_network_earn_nothing(files, provider) -> None:
    typed = "def make_ring_model():\n    return nn.Linear(3, 2)\n\ndef fit(net, x_1, steps, **named):\n    return []\n"
    report = graded(files, {"ring-answer": typed, "ring-run": "ring_model = make_ring_model()"})
    assert report.earned == 0, said(report)
