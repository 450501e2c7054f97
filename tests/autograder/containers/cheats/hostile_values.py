"""Answers with numbers and shapes that trip a careless judge."""

ROW = 22
REASON = "wrong"

import torch

calls = 0
ANSWERS = [
    lambda x: torch.full_like(x, float("nan")),
    lambda x: torch.full_like(x, float("inf")),
    lambda x: -torch.zeros_like(x),
    lambda x: torch.full_like(x, 1e-45),
    lambda x: torch.zeros((0, *x.shape)),
    lambda x: torch.zeros(1, dtype=torch.complex64),
    lambda x: x.to(torch.int8),
    lambda x: {"ok": True, "value": float("nan"), 3: [None, (), {}]},
]


def double(x):
    global calls
    calls += 1
    return ANSWERS[(calls + 2 * x.ndim) % len(ANSWERS)](x)
