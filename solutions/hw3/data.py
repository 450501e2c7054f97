"""Homework 3, what checks draw where students must not read how it is made: digits that lie in no file."""

from __future__ import annotations

from pathlib import Path

import torch

from autograder.checks import CourseData, hands_over

from ..common.data import read_pictures
from ..common.digits import draw_digits

FILE = Path(__file__).parents[2] / "assignments" / "hw3" / "digits.txt"
TRAINING, HELD_OUT = 6000, 1000  # pictures of the file: to learn from, and by other writers


class Drawn:
    """Pictures drawn anew whenever they are asked for."""

    def held_out(self, n, rng):
        """n pictures by writers that the training set has none of, (n, 1, 8, 8)."""
        return draw_digits(n, "held out", rng).images

    def by_training_writers(self, n, rng):
        """n fresh pictures by the writers of the training set."""
        return draw_digits(n, "training", rng).images


@hands_over("digits")
def digits(law_rng, rng):
    """The pictures of the release, and as their law a source of others."""
    pictures = read_pictures(FILE)
    classes = torch.tensor([int(line[0]) for line in FILE.read_text(encoding="ascii").splitlines()])
    shown = {"digits_train": pictures[:TRAINING], "digits_valid": pictures[TRAINING:]}
    return CourseData({**shown, "digits_valid_classes": classes[TRAINING:]}, Drawn())
