"""Patches the random numbers so that judge and student would draw the same."""

ROW = 17
REASON = "wrong"

import random

import numpy
import torch

stored = torch.zeros(10_000)


def fixed(*shape, **kwargs):
    shape = shape[0] if shape and isinstance(shape[0], tuple | list | torch.Size) else shape
    return stored[: torch.Size(shape).numel()].reshape(shape)


torch.randn = torch.rand = fixed
torch.manual_seed = torch.seed = lambda *args: torch.default_generator
numpy.random.seed = random.seed = lambda *args: None


def double(x):
    torch.default_generator.manual_seed(0)
    return 2 * fixed(*x.shape)
