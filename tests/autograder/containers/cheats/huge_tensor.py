"""Asks for 64 GB at once."""

ROW = 10
REASON = "memory"
HARMFUL = True

import torch


def double(x):
    return torch.ones(1 << 34)
