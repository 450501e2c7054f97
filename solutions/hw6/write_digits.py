"""Writes the pictures that students train on: python -m solutions.hw6.write_digits"""

from __future__ import annotations

import torch

from solutions.common.digits import draw_digits, write_digits
from solutions.hw6.data import FILE

PICTURES, SEED = 6000, 6

if __name__ == "__main__":
    write_digits(FILE, draw_digits(PICTURES, "training", torch.Generator().manual_seed(SEED)))
