"""What the judge of homework 1 knows and hands over; what every homework must have stands in `test_every_homework`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from autograder.checks import enumerate_binary
from autograder.homework.assignment import Assignment, load_assignment
from autograder.homework.files import HomeworkFiles
from autograder.judge.handing import handed_in_grading
from autograder.judge.keys import Keys
from autograder.judge.model_answers import read_solution
from solutions.common.digits import draw_digits
from solutions.hw1 import laws
from tests.solutions.hands.notebooks import namespace

ROOT = Path(__file__).parents[2]
HW1 = HomeworkFiles("hw1", ROOT / "assignments", ROOT / "solutions")
SOLUTION = HW1.solution


@cache
def assignment() -> Assignment:
    return load_assignment(HW1)


# What the judge knows


def test_the_judges_bars_law_sums_to_one_and_has_the_entropy_of_the_text() -> None:
    images = (torch.arange(2**16)[:, None] >> torch.arange(16)).remainder(2).reshape(-1, 1, 4, 4)
    log_p = laws.bars_law(images, 0.05)
    assert log_p.exp().sum().item() == pytest.approx(1)
    assert -(log_p.exp() * log_p).sum().item() == pytest.approx(6.4960, abs=5e-5)


def test_the_judges_bars_follow_the_judges_law() -> None:
    x = laws.draw_bars(20_000, 2, 0.1, torch.Generator().manual_seed(0))
    numbers = (x.flatten(1).long() * torch.tensor([8, 4, 2, 1])).sum(1)
    images = (torch.arange(16)[:, None] >> torch.arange(3, -1, -1)).remainder(2).reshape(-1, 1, 2, 2)
    frequencies = torch.bincount(numbers, minlength=16) / 20_000
    torch.testing.assert_close(frequencies.double(), laws.bars_law(images, 0.1).exp(), atol=0.015, rtol=0)


def test_counting_the_pixels_of_a_pixelcnn_gives_the_closed_form() -> None:
    for layers in range(1, 9):
        assert len(laws.pixelcnn_field(layers, 3)) == layers * (3 * layers + 5) // 2
    assert laws.pixelcnn_field(1, 3) == {(-1, -1), (-1, 0), (-1, 1), (0, -1)}


def test_filling_in_raster_order_gives_the_table_s_own_law() -> None:
    table = torch.randn(15, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    _, log_p = laws.table_law(table)
    torch.testing.assert_close(laws.filled_law(table, [[0], [1], [2], [3]]), log_p.exp())
    by_columns = laws.filled_law(table, [[0], [2], [1], [3]])
    assert (by_columns - log_p.exp()).abs().max() > 1e-3
    assert by_columns.sum().item() == pytest.approx(1)


def test_the_judges_attention_is_that_of_pytorch() -> None:
    q, k, v = torch.randn(3, 2, 2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    right = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(laws.attention(q, k, v, 0.5), right)
    torch.testing.assert_close(laws.attention(q[:, :, 3:], k, v, 0.5), right[:, :, 3:])


# What notebooks are handed


def test_students_see_the_pictures_that_the_generator_draws() -> None:
    """The file of the release is what `python -m solutions.hw1.write_digits` writes."""
    generator = torch.Generator().manual_seed(1)
    drawn = [draw_digits(n, who, generator).images for n, who in ((6000, "training"), (500, "held out"))]
    names = namespace(read_solution(SOLUTION))
    assert torch.equal(names["digits_train"], drawn[0])
    assert torch.equal(names["digits_test"], drawn[1])


def test_in_grading_the_pictures_that_decide_are_new_and_those_to_learn_from_are_not() -> None:
    example, ada, bob = (handed_in_grading(assignment(), Keys.local(seed))["digits"] for seed in (1, 2, 3))
    assert torch.equal(ada.tensors["digits_train"], example.tensors["digits_train"])
    assert ada.law.shape == (2000, 1, 8, 8)
    assert not torch.equal(ada.law, bob.law)
    assert not torch.equal(ada.law[:500], ada.tensors["digits_test"])


def test_bars_are_drawn_for_each_student_and_follow_their_law() -> None:
    ada, bob = (handed_in_grading(assignment(), Keys.local(seed))["bars"] for seed in (2, 3))
    assert not torch.equal(ada.law.patterns, bob.law.patterns)
    assert len(ada.law.patterns.unique(dim=0)) == 30
    every = enumerate_binary((1, 4, 4))
    log_p = ada.law.log_prob(every)
    assert log_p.exp().sum().item() == pytest.approx(1)
    entropy = -float((log_p.exp() * log_p).sum())
    sampled = -ada.law.log_prob(ada.tensors["bars_train"])
    assert float(sampled.mean()) == pytest.approx(entropy, abs=5 * float(sampled.std()) / 8000**0.5)


def test_a_table_of_the_text_s_bars_earns_nothing_under_any_law() -> None:
    """The excess of 32 equal patterns with 5 % flips lies above both floors; the example's is near 1.6."""
    x = enumerate_binary((1, 4, 4))
    for seed in range(30):
        law = handed_in_grading(assignment(), Keys.local(seed))["bars"].law
        log_p = law.log_prob(x)
        excess = float((log_p.exp() * (log_p - laws.bars_law(x, 0.05))).sum())
        assert excess > 1.4
