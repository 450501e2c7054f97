"""Answers of 250 MB, each of them well-formed."""

ROW = 23
REASON = "output"

import torch


def double(x):
    return torch.zeros(250 << 18)
