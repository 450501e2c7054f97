"""Homework 1: the digits on which a student's network is measured, drawn when it is graded."""

from __future__ import annotations

from pathlib import Path

from autograder.checks import CourseData, hands_over

from ..common.data import read_pictures
from ..common.digits import draw_digits

FILE = Path(__file__).parents[2] / "assignments" / "hw1" / "digits.txt"
TRAINING, HELD_OUT = 6000, 2000  # pictures to learn from; pictures to be measured on


@hands_over("digits")
def digits(law_rng, rng):
    """The pictures of the release, and as their law others that lie in no file."""
    pictures = read_pictures(FILE)
    shown = {"digits_train": pictures[:TRAINING], "digits_test": pictures[TRAINING:]}
    return CourseData(shown, draw_digits(HELD_OUT, "held out", law_rng).images)
