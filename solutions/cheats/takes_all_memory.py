"""A list that grows until the memory is gone."""

ONCE = True
HARMFUL = True
import torch

_hoard = []
while True:
    _hoard.append(torch.ones(2**24))
