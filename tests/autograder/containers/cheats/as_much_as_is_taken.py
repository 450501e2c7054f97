"""Answers just below what is taken of one reply, in shapes that broadcast, and bits that grow in arithmetic."""

ROW = 23
REASON = {"wrong", "output"}

import torch

ANSWERS = [
    lambda x: torch.zeros(4_000_000, *[1] * x.ndim),
    lambda x: torch.ones(3_900_000, dtype=torch.bool),
    lambda x: torch.zeros(1_000_000, 3),
    lambda x: [0.5] * 60_000,
]
calls = 0


def double(x):
    global calls
    calls += 1
    return ANSWERS[calls % len(ANSWERS)](x)
