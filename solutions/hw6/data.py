"""Homework 6, what the notebook is handed where students must not read how it is made: digits by other writers."""

from __future__ import annotations

from pathlib import Path

from autograder.checks import CourseData, hands_over

from ..common.data import read_pictures
from ..common.digits import draw_digits

FILE = Path(__file__).parents[2] / "assignments" / "hw6" / "digits.txt"
HELD_OUT = 1000  # pictures to be measured on


@hands_over("digits")
def digits(law_rng, rng):
    """The pictures of the release, and as their law others that lie in no file; all (N, 64) with pixels −1 and +1."""
    held_out = draw_digits(HELD_OUT, "held out", law_rng).images
    return CourseData({"digits_train": 2 * read_pictures(FILE).flatten(1) - 1}, 2 * held_out.flatten(1) - 1)
