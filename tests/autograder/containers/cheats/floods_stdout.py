"""Prints a gigabyte on one line, from Python, from a descriptor and from a child."""

ROW = 10
REASON = "wrong"
HARMFUL = True
CELL_SECONDS = 30

import os
import subprocess
import sys

block = "x" * (1 << 20)
for _ in range(512):
    sys.stdout.write(block)
for _ in range(256):
    os.write(1, block.encode())
try:
    subprocess.run(["head", "-c", "268435456", "/dev/zero"], timeout=20)
except (OSError, subprocess.SubprocessError):
    pass


def double(x):
    return x
