"""Answers with ten billion elements, ten thousand levels, an endless number."""

ROW = 10
REASON = {"output", "memory", "wrong"}

import torch


def double(x):
    if x.ndim == 1:
        return torch.zeros(1).expand(10**10)
    if x.ndim == 2:
        nested = []
        for _ in range(10_000):
            nested = [nested]
        return nested
    return 10**400_000
