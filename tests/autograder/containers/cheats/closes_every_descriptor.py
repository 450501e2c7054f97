"""Closes every descriptor there is, the judge's channel among them."""

ROW = 6
REASON = "crash"

import os


def double(x):
    os.closerange(0, 4096)
    return x
