"""Suspends its own process."""

ROW = 9
REASON = "timeout"

import os
import signal


def double(x):
    os.kill(os.getpid(), signal.SIGSTOP)
    return x
