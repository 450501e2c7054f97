"""Announces an answer of an exabyte and sends none of it."""

ROW = 10
REASON = "output"

import os
import stat
import struct
import time


def channels():
    for descriptor in range(3, 4096):
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                yield descriptor
        except OSError:
            pass


def double(x):
    for descriptor in channels():
        os.write(descriptor, struct.pack("<4sIQ", b"AGW1", 2**32 - 1, 2**60))
    time.sleep(60)
    return x
