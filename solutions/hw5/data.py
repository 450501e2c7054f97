"""Homework 5, what the notebook is handed where students must not read how it is made: digits by other writers."""

from __future__ import annotations

from pathlib import Path

from autograder.checks import CourseData, hands_over

from ..common.data import read_pictures
from ..common.digits import draw_digits

FILE = Path(__file__).parents[2] / "assignments" / "hw5" / "digits.txt"
HELD_OUT = 13_714  # pictures: 50 and 1000 for each of 13 times, and 64


@hands_over("digits")
def digits(law_rng, rng):
    """The pictures of the release, and as their law others that lie in no file; all with pixels −1 and +1."""
    held_out = draw_digits(HELD_OUT, "held out", law_rng).images
    return CourseData({"digits_train": 2 * read_pictures(FILE) - 1}, 2 * held_out - 1)
