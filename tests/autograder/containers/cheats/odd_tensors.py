"""Answers with half precision, sparse, quantised and view tensors over a tiny storage."""

ROW = 22
REASON = {"wrong", "output", "crash"}

import torch


def double(x):
    if x.ndim == 0:
        return torch.zeros(3, 3).to_sparse()
    if x.ndim == 2:
        return torch.quantize_per_tensor(torch.zeros(2, 3), 0.1, 0, torch.quint8)
    return torch.zeros(1, dtype=torch.bfloat16).expand(3)
