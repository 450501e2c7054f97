"""Answers with a tensor that claims to be equal to everything."""

ROW = 1
REASON = "wrong"

import torch


class Yes(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return True

    def __eq__(self, other):
        return True

    def __bool__(self):
        return True

    __hash__ = None


def double(x):
    return x.clone().as_subclass(Yes)
