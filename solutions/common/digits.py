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
from torch.nn import functional as F

Writers = Literal["training", "held out"]

BLOCKS = (0, 130, 256, 386, 516, 646, 776, 906, 1029, 1157, 1287, 1415, 1545, 1667)  # where a writer begins
ROWS: dict[Writers, range] = {"training": range(1415), "held out": range(1545, 1797)}  # the writer between is left out
ENLARGED = 4  # a pixel is averaged over 4 × 4
BLEND = (0.3, 0.7)  # weight of the first of two digits
TURN, SHEAR, LOG_SCALE, SHIFT = 0.12, 0.12, 0.07, 0.35  # deviations; SHIFT in pixels of 8 × 8
THRESHOLD = 0.42  # of black = 0 and white = 1


class Digits(NamedTuple):
    """Pictures, (N, 1, side, side), and their classes 0 … 9, (N,)."""

    images: Tensor
    labels: Tensor


class _Originals(NamedTuple):
    """The digits of some writers, those of one class and writer side by side.

    images: (M, 1, 8, 8) in [0, 1]; labels: (M,); first, last: the bounds of each digit's group, (M,).
    """

    images: Tensor
    labels: Tensor
    first: Tensor
    last: Tensor


def draw_digits(
    n: int, writers: Writers, generator: Generator, *, side: int = 8, threshold: float | None = THRESHOLD
) -> Digits:
    """n digits of the given writers that nobody has seen: float32 pictures, each class as often as they wrote it.

    Args:
        side: height and width.
        threshold: white is what is lighter; None keeps the grey levels, in [0, 1].
    """
    of = _originals(writers)
    one = torch.randint(len(of.images), (n,), generator=generator)
    room = (of.last - of.first)[one]
    other = of.first[one] + (torch.rand(n, generator=generator) * room).long().clamp(max=room - 1)
    weight = torch.empty(n, 1, 1, 1).uniform_(*BLEND, generator=generator)
    blended = weight * of.images[one] + (1 - weight) * of.images[other]  # (n, 1, 8, 8)
    large = ENLARGED * side
    blended = F.interpolate(blended, size=(large, large), mode="bilinear", align_corners=False)
    grid = F.affine_grid(_moves(n, generator), [n, 1, large, large], align_corners=False)
    images = F.avg_pool2d(F.grid_sample(blended, grid, align_corners=False), ENLARGED)  # (n, 1, side, side)
    return Digits(images if threshold is None else (images > threshold).float(), of.labels[one])


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
def _originals(writers: Writers) -> _Originals:
    found, rows = load_digits(), torch.tensor(ROWS[writers])
    labels = torch.tensor(found.target)[rows]
    writer = torch.bucketize(rows, torch.tensor(BLOCKS), right=True)
    group, order = torch.sort(10 * writer + labels, stable=True)
    images = torch.tensor(found.images, dtype=torch.float32)[rows][order].unsqueeze(1) / 16
    bounds = (torch.searchsorted(group, group, right=right) for right in (False, True))
    return _Originals(images, labels[order], *bounds)


def _moves(n: int, generator: Generator) -> Tensor:
    """Random affine maps near the identity, (n, 2, 3), in coordinates from −1 to 1."""
    turn, shear = torch.tensor([[TURN], [SHEAR]]) * torch.randn(2, n, generator=generator)
    scale = (LOG_SCALE * torch.randn(n, generator=generator)).exp()
    shift = SHIFT / 4 * torch.randn(n, 2, generator=generator)  # 8 pixels are 2 units
    cos, sin = turn.cos(), turn.sin()
    rows = torch.stack([cos, shear * cos - sin, sin, cos + shear * sin], 1).reshape(n, 2, 2)
    return torch.cat([scale[:, None, None] * rows, shift[:, :, None]], 2)
