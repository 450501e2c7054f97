"""Errors, notes and output as long as they can be, of characters that take six bytes each."""

ROW = 24
REASON = "crash"

import torch

print(chr(0) * 65_500)


def double(x):
    raise ValueError(chr(1) * 100_000)
