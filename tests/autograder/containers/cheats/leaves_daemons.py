"""Leaves processes behind that detach from everything and want to live on."""

ROW = 11
REASON = "wrong"
HARMFUL = True

import os
import time

for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 4096)
            time.sleep(3600)
        os._exit(0)


def double(x):
    return x
