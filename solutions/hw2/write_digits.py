"""Writes the pictures that students train on, `assignments/hw2/digits.txt`: `python -m solutions.hw2.write_digits`."""

from __future__ import annotations

import torch

from solutions.common.digits import draw_digits
from solutions.hw2.data import FILE, SIGNS, levels

PICTURES, SEED = 6000, 2

if __name__ == "__main__":
    pictures = levels(draw_digits(PICTURES, "training", torch.Generator().manual_seed(SEED), threshold=None))
    rows = ["".join(SIGNS[int(level)] for level in picture.flatten()) for picture in pictures]
    FILE.write_text("\n".join(rows) + "\n", encoding="utf-8")
    print(f"{len(rows)} pictures: {FILE}")
