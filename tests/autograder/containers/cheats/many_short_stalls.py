"""Stalls just under any single time limit, again and again."""

ROW = 9
REASON = {"timeout", "wrong", "missing"}
EARNS = None  # the time of the whole submission may run out before `line` is checked

import time


def double(x):
    time.sleep(1.6)
    return x
