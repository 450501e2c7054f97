"""Answers with five million objects, and with one text of a hundred megabytes."""

ROW = 10
REASON = {"output", "memory", "wrong"}


def double(x):
    return list(range(5_000_000)) if x.ndim else "x" * 100_000_000
