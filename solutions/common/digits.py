"""Digits drawn anew: pictures of handwritten digits that lie in no file, so that nobody can look them up.

    images, labels = draw_digits(6000, "training", generator)      # zeros and ones, (6000, 1, 8, 8) and (6000,)
    images, labels = draw_digits(500, "held out", generator, side=12, threshold=None)      # grey levels in [0, 1]

scikit-learn carries 1,797 digits of 8 × 8 pixels in blocks of about 130, one writer after another. A picture is drawn
from two of them, of one class and one writer: enlarged four times, blended (weight 0.3 to 0.7), moved by a random
rotation, shear, scale and shift, averaged back and, if wanted, made binary by a threshold. The writers of training
pictures and of held-out ones differ. `python -m solutions.common.digit_baselines` prints what simple models reach.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import Generator, Tensor

from reference_models.drawn_digits import THRESHOLD, Originals, draw

Writers = Literal["training", "held out"]

ROWS: dict[Writers, range] = {"training": range(1415), "held out": range(1545, 1797)}  # the writer between is left out


class Digits(NamedTuple):
    """Pictures, (N, 1, side, side), and their classes 0 … 9, (N,)."""

    images: Tensor
    labels: Tensor


def draw_digits(
    n: int, writers: Writers, generator: Generator, *, side: int = 8, threshold: float | None = THRESHOLD
) -> Digits:
    """n digits of the given writers that nobody has seen: float32 pictures, each class as often as they wrote it.

    Args:
        side: height and width.
        threshold: white is what is lighter; None keeps the grey levels, in [0, 1].
    """
    images, labels = draw(n, _originals(writers), generator, side=side)
    return Digits(images if threshold is None else (images > threshold).float(), labels)


def originals() -> Digits:
    """scikit-learn's 1,797 digits, made binary: what a cheat may know of the held-out writers."""
    found = load_digits()
    return Digits(torch.tensor(found.images > 7).float().unsqueeze(1), torch.tensor(found.target))


def write_digits(path: Path, digits: Digits) -> None:
    """Write pictures to a file of a release, one a line: the class, a space, the pixels as hexadecimal digits.

    A digit holds four pixels in raster order if all pictures are black and white, else the grey level 0 … 15 of one.
    """
    binary = bool(((digits.images == 0) | (digits.images == 1)).all())
    levels = (digits.images.flatten(1) * (1 if binary else 15)).round().long()
    if binary:
        levels = (levels.reshape(len(levels), -1, 4) * torch.tensor([8, 4, 2, 1])).sum(2)
    rows = ["".join(f"{level:x}" for level in row) for row in levels.tolist()]
    lines = [f"{label} {row}\n" for label, row in zip(digits.labels.tolist(), rows, strict=True)]
    path.write_text("".join(lines), encoding="ascii")


@functools.cache
def _originals(writers: Writers) -> Originals:
    return Originals.of(ROWS[writers])
