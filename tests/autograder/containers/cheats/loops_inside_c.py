"""Loops inside C, where Python's signals never arrive."""

ROW = 9
REASON = "timeout"


def double(x):
    return sum(iter(int, 1))
