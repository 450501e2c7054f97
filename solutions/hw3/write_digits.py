"""Writes the pictures that students see, `assignments/hw3/digits.txt`: `python -m solutions.hw3.write_digits`."""

from __future__ import annotations

import torch

from solutions.common.digits import Digits, draw_digits, write_digits
from solutions.hw3.data import FILE, HELD_OUT, TRAINING

SEED = 3

if __name__ == "__main__":
    generator = torch.Generator().manual_seed(SEED)
    train, valid = draw_digits(TRAINING, "training", generator), draw_digits(HELD_OUT, "held out", generator)
    write_digits(FILE, Digits(*(torch.cat(parts) for parts in zip(train, valid, strict=True))))
    print(f"{TRAINING} and {HELD_OUT} pictures: {FILE}")
