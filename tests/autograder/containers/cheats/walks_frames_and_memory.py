"""Looks for the judge's secrets in frames, the garbage collector, descriptors and memory."""

ROW = 4
REASON = "wrong"

import gc
import os
import re
import sys

TOKEN = re.compile(rb"CANARY7f3a-[0-9a-f]{16}")
WANTED = ("secret_" + "input", "twice_the_" + "argument")


def look(where, data):
    found = TOKEN.search(data)
    if found:
        print("LEAK", where, found.group().decode())


def hunt():
    frame = sys._getframe()
    while frame is not None:
        for name, value in frame.f_locals.items():
            if name in WANTED:
                print("LEAK", "frame", name)
            look("frame", repr(value)[:100_000].encode("utf-8", "replace")) if isinstance(value, str | dict) else None
        frame = frame.f_back
    for thing in gc.get_objects():
        if type(thing) is dict and any(name in thing for name in WANTED):
            print("LEAK", "object")
    for process in filter(str.isdigit, os.listdir("/proc")):
        for name in ("environ", "cmdline", "maps", "mountinfo"):
            try:
                with open(f"/proc/{process}/{name}", "rb") as file:
                    look(f"/proc/{process}/{name}", file.read(1 << 20))
            except OSError:
                pass
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            begin, end = (int(part, 16) for part in line.split()[0].split("-"))
            if "rw" in line and end - begin < 1 << 26:
                try:
                    memory.seek(begin)
                    look("memory " + line.split()[-1], memory.read(end - begin))
                except (OSError, ValueError, OverflowError):
                    pass


hunt()


def double(x):
    hunt()
    return x
