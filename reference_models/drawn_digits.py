"""Digits drawn anew from scikit-learn's 1,797 handwritten ones of 8×8 pixels: as many as wanted, of any size.

Those stand in blocks of about 130, one writer after another. A picture is drawn from two of them, of one class and one
writer: enlarged to four times the size wanted, blended (weight 0.3 to 0.7), moved by a random rotation, shear, scale
and shift, made crisp if wanted, and averaged back. `old_digits.npz` holds the originals, of "Optical Recognition of
Handwritten Digits" (Alpaydin, Kaynak, 1998), https://doi.org/10.24432/C50P49, CC BY 4.0, as scikit-learn gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from reference_models.dataset import DataSet, Source, drawn_set

BLOCKS = (0, 130, 256, 386, 516, 646, 776, 906, 1029, 1157, 1287, 1415, 1545, 1667)  # where a writer begins
ENLARGED = 4  # a pixel is averaged over 4 × 4
BLEND = (0.3, 0.7)  # weight of the first of two digits
TURN, SHEAR, LOG_SCALE, SHIFT = 0.12, 0.12, 0.07, 0.35  # deviations; SHIFT in pixels of 8 × 8
THRESHOLD = 0.42  # of black = 0 and white = 1
CRISPNESS = 4.0  # how much steeper an edge is in the sets of this library
TRAIN, HELD_OUT = 12_000, 2_000


@cache
def old_digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's digits in their order: bytes 0 … 16, (1797, 1, 8, 8), and classes, long (1797,)."""
    with np.load(Path(__file__).with_name("old_digits.npz")) as file:
        images, labels = (torch.as_tensor(file[name], device="cpu") for name in ("images", "labels"))
    return images.unsqueeze(1), labels.long()


@dataclass(frozen=True)
class Originals:
    """Digits to draw from, those of one class and writer side by side.

    images: (M, 1, 8, 8) in [0, 1], float32; labels: (M,); first, last: the bounds of each digit's group, (M,).
    """

    images: Tensor
    labels: Tensor
    first: Tensor
    last: Tensor

    @classmethod
    def of(cls, rows: Sequence[int]) -> Originals:
        """The old digits at these places."""
        all_images, all_labels = old_digits()
        chosen = torch.tensor(rows, device="cpu")
        labels = all_labels[chosen]
        writer = torch.bucketize(chosen, torch.tensor(BLOCKS, device="cpu"), right=True)
        group, order = torch.sort(10 * writer + labels, stable=True)
        images = all_images[chosen][order].to(torch.float32) / 16
        first, last = (torch.searchsorted(group, group, right=right) for right in (False, True))
        return cls(images, labels[order], first, last)


def draw(
    n: int, of: Originals, generator: Generator, *, side: int = 8, crispness: float | None = None
) -> tuple[Tensor, Tensor]:
    """n pictures (n, 1, side, side), float32 in [0, 1], and their classes (n,); each class as often as it was written.

    crispness: an edge is made so much steeper, around THRESHOLD; None leaves it as it is.
    """
    one = torch.randint(len(of.images), (n,), generator=generator, device="cpu")
    room = (of.last - of.first)[one]
    other = of.first[one] + (torch.rand(n, generator=generator, device="cpu", dtype=torch.float32) * room).long().clamp(
        max=room - 1
    )
    weight = torch.empty(n, 1, 1, 1, device="cpu", dtype=torch.float32).uniform_(*BLEND, generator=generator)
    blended = weight * of.images[one] + (1 - weight) * of.images[other]  # (n, 1, 8, 8)
    moves = _moves(n, generator)
    parts = [_picture(x, move, side, crispness) for x, move in zip(blended.split(500), moves.split(500), strict=True)]
    return torch.cat(parts), of.labels[one]


def _picture(blended: Tensor, moves: Tensor, side: int, crispness: float | None) -> Tensor:
    large = ENLARGED * side
    enlarged = F.interpolate(blended, size=(large, large), mode="bilinear", align_corners=False)
    grid = F.affine_grid(moves, [len(moves), 1, large, large], align_corners=False)
    ink = F.grid_sample(enlarged, grid, align_corners=False)
    if crispness is not None:
        ink = (0.5 + crispness * (ink - THRESHOLD)).clamp(0, 1)
    return F.avg_pool2d(ink, ENLARGED)


def _moves(n: int, generator: Generator) -> Tensor:
    """Random affine maps near the identity, (n, 2, 3), in coordinates from −1 to 1."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device="cpu", dtype=torch.float32)

    turn, shear = torch.tensor([[TURN], [SHEAR]], device="cpu", dtype=torch.float32) * normal(2, n)
    scale = (LOG_SCALE * normal(n)).exp()
    shift = SHIFT / 4 * normal(n, 2)  # 8 pixels are 2 units
    cos, sin = turn.cos(), turn.sin()
    rows = torch.stack([cos, shear * cos - sin, sin, cos + shear * sin], 1).reshape(n, 2, 2)
    return torch.cat([scale[:, None, None] * rows, shift[:, :, None]], 2)


def source(name: str, *, side: int, levels: int = 17) -> Source:
    """A data set of crisp drawn digits, k/(levels − 1), 12,000 to train on; all writers, held out alike."""

    def made(path: Path | None, size: int | None, generator: Generator) -> DataSet:
        everybody = Originals.of(range(len(old_digits()[1])))

        def some(n: int) -> tuple[Tensor, Tensor]:
            images, labels = draw(n, everybody, generator, side=side, crispness=CRISPNESS)
            return (images.double() * (levels - 1)).round() / (levels - 1), labels

        return drawn_set(name, some, size or TRAIN, held_out=HELD_OUT, levels=levels)

    return made
