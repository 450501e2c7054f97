"""Writes the pictures that students get: python -m solutions.hw1.write_digits"""

from __future__ import annotations

import torch

from solutions.common.digits import Digits, draw_digits, write_digits
from solutions.hw1.data import FILE, TRAINING

SHOWN = 500  # pictures of the held-out writers for students; those that decide are drawn anew

if __name__ == "__main__":
    generator = torch.Generator().manual_seed(1)
    parts = [draw_digits(n, who, generator) for n, who in ((TRAINING, "training"), (SHOWN, "held out"))]
    write_digits(FILE, Digits(*(torch.cat(columns) for columns in zip(*parts, strict=True))))
