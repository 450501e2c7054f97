"""A list that grows until the memory is gone."""

HARMFUL = True
import torch

_hoard = []
while True:
    _hoard.append(torch.ones(2**24))
