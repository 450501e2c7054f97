"""Fills every place it may write to, with bytes, with holes, with files."""

ROW = 10
REASON = {"wrong", "memory", "crash"}
EARNS = None  # a full disk may cost its own `line` too
HARMFUL = True
CELL_SECONDS = 20

import os


def fill(folder):
    try:
        with open(f"{folder}/hole", "wb") as file:
            os.ftruncate(file.fileno(), 1 << 40)
    except OSError as error:
        print("hole", error)
    try:
        with open(f"{folder}/bytes", "wb") as file:
            for _ in range(4096):
                file.write(b"x" * (1 << 20))
        print("FILLED 4 GB in", folder)
    except OSError as error:
        print("bytes", error)
    try:
        for number in range(200_000):
            open(f"{folder}/{number}", "x").close()
        print("FILLED 200,000 files in", folder)
    except OSError as error:
        print("files", number, error)


for place in ("/tmp", "/dev/shm", "/run/judge", "/var/tmp", "/"):
    try:
        fill(place)
    except (OSError, ValueError) as error:
        print(place, error)


def double(x):
    return x
