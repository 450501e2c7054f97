"""Raises what is not an Exception."""

ROW = 8
REASON = "crash"

import sys


class Sneaky(BaseException):
    pass


def double(x):
    if x.ndim == 1:
        sys.exit(0)
    if x.ndim == 2:
        raise KeyboardInterrupt
    raise Sneaky
