"""Loops for ever and catches whatever is thrown at it."""

ROW = 9
REASON = "timeout"

import signal

signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})


def double(x):
    while True:
        try:
            while True:
                pass
        except BaseException:
            continue
