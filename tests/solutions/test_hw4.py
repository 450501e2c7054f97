"""The rings of homework 4: what is drawn, and that nothing trivial reaches a line that pays."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from autograder.homework.assignment import Assignment, load_assignment
from autograder.homework.files import HomeworkFiles
from autograder.judge.handing import handed_in_grading
from autograder.judge.keys import Keys
from solutions.hw4.checks_training import held
from solutions.hw4.measures import definitions

ROOT = Path(__file__).parents[2]
N = 20_000
RINGS = range(20)


@cache
def assignment() -> Assignment:
    return load_assignment(HomeworkFiles("hw4", ROOT / "assignments", ROOT / "solutions"))


def ring(seed: int) -> Any:
    return handed_in_grading(assignment(), Keys.local(seed))["ring"]


def lines() -> Any:
    return assignment().config.data["ring"]


def circle(middle: Tensor, radius: float, width: float, generator: Generator) -> Tensor:
    """N points of a circle with normal deviations from it."""
    way = 2 * math.pi * torch.rand(N, generator=generator, dtype=torch.float64)
    distance = radius + width * torch.randn(N, 1, generator=generator, dtype=torch.float64)
    return middle + distance * torch.stack([way.cos(), way.sin()], 1)


def test_every_student_gets_a_ring_of_the_family_that_the_text_describes() -> None:
    laws = [ring(seed).law for seed in RINGS]
    assert len({law.sigma for law in laws}) == len(laws)
    for law in laws:
        middle = law.centres.mean(0)
        offset = law.centres - middle
        turn = torch.atan2(offset[0, 1], offset[0, 0]).rad2deg()
        assert 1.8 <= float(offset[0].norm()) <= 2.2
        assert torch.allclose(offset.norm(dim=1), offset[0].norm())
        assert float(middle.abs().max()) <= 0.3
        assert 10 <= float(turn) <= 35
        assert 0.09 <= law.sigma <= 0.11
        assert float(law.weights.max() / law.weights.min()) <= 1.25 / 0.75
        assert float(law.weights.sum()) == pytest.approx(1)


def test_what_is_handed_over_follows_the_law() -> None:
    data = ring(3)
    share = held(data.tensors["ring_train"].double(), data.law)
    assert float(share.sum()) == pytest.approx(1 - math.exp(-4.5), abs=0.01)
    assert torch.allclose(share / (1 - math.exp(-4.5)), data.law.weights, atol=0.02)


@pytest.mark.parametrize("seed", RINGS)
def test_a_circle_a_gaussian_and_the_ring_of_the_textbooks_earn_nothing(seed: int) -> None:
    law, generator = ring(seed).law, Generator().manual_seed(seed)
    points = law.draw(N, generator)
    middle = law.centres.mean(0)
    radius = float((law.centres[0] - middle).norm())
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    textbook = 2 * torch.stack([angle.cos(), angle.sin()], 1)[torch.randint(0, 8, (N,), generator=generator)]
    gaussian = torch.randn(N, 2, generator=generator, dtype=torch.float64) @ torch.linalg.cholesky(points.T.cov()).T
    trivial = {
        "a thin circle": circle(middle, radius, 0.0, generator),
        "a circle": circle(middle, radius, law.sigma, generator),
        "a gaussian": gaussian + points.mean(0),
        "the textbook": textbook + 0.02 * torch.randn(N, 2, generator=generator, dtype=torch.float64),
    }
    assert float(held(points, law).sum()) > 0.98
    for name, samples in trivial.items():
        share = held(samples, law)
        assert float(share.sum()) < lines()["share"]["floor"], name
        assert float((share / law.weights).min()) < lines()["least"]["floor"], name
    for name in ("a thin circle", "a circle", "a gaussian"):
        precision = definitions(points[:700], trivial[name][:700], law)["precision"]
        assert precision < lines()["precision"]["floor"], name
