"""Data drawn for a student, and trainings that a check asks for, in real containers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from autograder.checks import call, records, run_fit, train_network
from autograder.homework.ipynb import to_text
from autograder.homework.settings import Budgets
from autograder.judge.grade import grade
from autograder.judge.job import Job
from autograder.judge.model_answers import read_solution
from autograder.judge.session import Session
from autograder.sandbox import Limits, open_provider
from autograder.sandbox.docker import Engine
from autograder.student import Student
from autograder.submission import Submission
from tests.autograder.drawn_homework import make_drawn, with_cell
from tests.autograder.providers import cells

pytestmark = pytest.mark.container

SOURCE = """
import torch
from torch import nn

def make_net():
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))

def fit(net, x, y, steps):
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(steps):
        loss = ((net(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""


def test_a_notebook_is_graded_on_the_law_drawn_for_its_student(engine: Engine, tmp_path: Path) -> None:
    files = make_drawn(tmp_path)
    right = read_solution(files.solution)
    typed = with_cell(right, "shift-answer", "shift = 1.0")  # the example's
    for notebook, points in ((right, 2.0), (typed, 1.0)):
        submission = Submission.of("ada", to_text(notebook).encode())
        report = grade(Job(files, submission, "docker", salt=7))
        assert report.earned == points, [check.message for check in report.checks]


def test_a_student_s_fit_trains_a_probe_and_the_judge_a_student_s_network(engine: Engine) -> None:
    provider = open_provider("docker", Limits())
    session = Session(provider, cells(SOURCE), {}, Budgets(), 0)
    try:
        student, x = Student(session, "a"), torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
        y = x[:, :1] - x[:, 1:]
        probe = student.probe("Recorder", student.probe("Perceptron", 2, 1))
        run_fit(student.fit, probe, x, y, steps=100)
        assert len(records(probe)) == 100
        network = student.make_net()
        train_network(network, [x], y, steps=200, lr=0.02)
        for trained in (probe, network):
            assert float((call(trained, x) - y).square().mean()) < 0.1
    finally:
        session.close()
        provider.close()
