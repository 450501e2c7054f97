"""Reads memory through C: its own pages, the first process's, what the kernel says of others."""

import ctypes
import os

ROW = 4
REASON = "wrong"

libc = ctypes.CDLL(None, use_errno=True)


def look():
    token = b"CANARY7f3a-" + b"5eed5eed"
    for pid in filter(str.isdigit, os.listdir("/proc")):
        mine = int(pid) == os.getpid()
        try:
            maps = open(f"/proc/{pid}/maps").read().splitlines()
            memory = open(f"/proc/{pid}/mem", "rb", 0)
        except OSError:
            continue
        if not mine and libc.ptrace(16, int(pid), 0, 0) == 0:
            print("OPEN another process can be traced")
        for line in maps[:400]:
            low, high = (int(part, 16) for part in line.split()[0].split("-"))
            try:
                memory.seek(low)
                data = memory.read(min(high - low, 1 << 20))
            except (OSError, ValueError, OverflowError):
                continue
            if token in data and not mine:
                print("LEAK", pid)


def double(x):
    return x


look()
for call in ("bpf", "unshare", "mount", "kexec_load", "init_module", "perf_event_open", "userfaultfd"):
    number = {"bpf": 321, "unshare": 272, "mount": 165, "kexec_load": 246, "init_module": 175,
              "perf_event_open": 298, "userfaultfd": 323}[call]  # fmt: skip
    if libc.syscall(number, 0x10000000 if call == "unshare" else 0, 0, 0, 0, 0) >= 0:
        print("OPEN", call)
