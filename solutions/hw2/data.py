"""Homework 2, what the notebook is handed where students must not read how it is made: digits by other writers."""

from __future__ import annotations

from pathlib import Path

import torch

from autograder.checks import CourseData, hands_over

from ..common.digits import draw_digits

FILE = Path(__file__).parents[2] / "assignments" / "hw2" / "digits.txt"
SIGNS = "0123456789abcdefg"  # levels 0 to 16
HELD_OUT = 1000  # pictures to be measured on


def levels(digits):
    """Pictures with 17 grey levels, 0 to 16, (N, 1, 8, 8), float32."""
    return (16 * digits.images).round()


@hands_over("digits")
def digits(law_rng, rng):
    """The pictures of the release, and as their law others that lie in no file."""
    rows = FILE.read_text(encoding="utf-8").split()
    shown = torch.tensor([[SIGNS.index(sign) for sign in row] for row in rows]).float().reshape(-1, 1, 8, 8)
    held_out = levels(draw_digits(HELD_OUT, "held out", law_rng, threshold=None))
    return CourseData({"digits_train": shown}, held_out)
