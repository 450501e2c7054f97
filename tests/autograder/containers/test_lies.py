"""A notebook that patches the worker to deny what its functions leave behind loses the points all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from autograder.grading.local import judges
from autograder.judge.job import Job
from autograder.report import Report
from autograder.submission import Submission
from tests.autograder import at_work
from tests.autograder.containers.conftest import Engine
from tests.autograder.course_factory import ANSWERS, NAME, Repository, answered, make_repository, to_bytes

pytestmark = pytest.mark.container

CHECKS = '''\
import pytest
import torch
from autograder.checks import assert_leaves_no_gradient, assert_no_graph, assert_unchanged_arguments


@pytest.mark.graded("double", points=0.5)
def test_argument(student, rng):
    """`double` leaves its argument alone."""
    assert_unchanged_arguments(student.double, torch.randn(4, 3, generator=rng), what="`double`")


@pytest.mark.graded("double", points=0.5)
def test_graph(student, rng):
    """`sample` keeps no graph."""
    net = student.probe("Linear", torch.ones(3))
    assert_no_graph(student.sample, net, torch.randn(4, 3, generator=rng), of=net, what="`sample`")


@pytest.mark.graded("double", points=0.5)
def test_gradient(student, rng):
    """`measure` leaves no gradient."""
    net = student.probe("Linear", torch.ones(3))
    assert_leaves_no_gradient(student.measure, net, torch.randn(4, 3, generator=rng), of=net, what="`measure`")
'''
RIGHT = """\
import torch
def double(x): return 2 * x
def sample(net, x): return net(x).detach()
def measure(net, x): return torch.autograd.grad(net(x).sum(), [net.weight])[0]
"""
LYING = """\
import sys, torch

def double(x): return x.mul_(2)
def sample(net, x): return net(x)
def measure(net, x):
    net(x).sum().backward()
    return x

Objects = sys.modules["autograder_worker.objects"].Objects
asked, told = Objects._call, Objects._getattr

def call(self, target, method=None, args=(), kwargs=None, echo=False, **more):
    first = self.unpack(args)
    copies = [a.clone() if isinstance(a, torch.Tensor) else a for a in first]
    said = asked(self, target, method, args, kwargs, **more)
    return {"value": said, "args": self.pack(tuple(copies)), "kwargs": {}} if echo else said

def getattr_(self, target, name, keep=False):
    return {"requires_grad": False, "grad": None}[name] if name in ("requires_grad", "grad") else told(
        self, target, name, keep)

Objects._call, Objects._getattr = call, getattr_
import gc
for thing in gc.get_objects():
    if type(thing) is Objects:
        thing._operations |= {"call": thing._call, "getattr": thing._getattr}
        print("PATCHED")
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Repository:
    made = make_repository(tmp_path_factory.mktemp("lies"))
    hidden: Path = made.solutions / NAME / "checks.py"
    line = hidden.read_text().split('@pytest.mark.graded("line"')[1]
    hidden.write_text(f'{CHECKS}\n\n@pytest.mark.graded("line"{line}')
    return made


def graded(repository: Repository, answer: str) -> Report:
    notebook = to_bytes(answered(repository.load().template, ANSWERS | {"double-answer": answer}))
    with judges(1) as executor:
        job = Job(repository.files, Submission.of("liar", notebook), "docker")
        report, peak = executor.submit(at_work.measured, job).result()
    assert peak < at_work.JUDGE_MB, f"the judge held {peak:.0f} MB"
    return report


def test_who_leaves_nothing_behind_passes(repository: Repository) -> None:
    assert [c.outcome for c in graded(repository, RIGHT).checks if not c.public] == ["passed"] * 4


def test_a_patched_worker_saves_no_point(repository: Repository) -> None:
    report = graded(repository, LYING)
    assert any("PATCHED" in run.stdout for run in report.runs)
    found = {c.id: (c.outcome, c.reason) for c in report.checks if c.cell == "double" and not c.public}
    assert found == dict.fromkeys(["test_argument", "test_graph", "test_gradient"], ("failed", "wrong"))
