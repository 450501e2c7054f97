"""Reads every file it can reach, looking for checks, answers, grades and other submissions."""

ROW = 5
REASON = "wrong"
CELL_SECONDS = 60

import os
import re

TOKEN = re.compile(rb"CANARY7f3a-[0-9a-f]{16}")
HIDDEN = re.compile(rb"secret_[i]nput|twice_the_[a]rgument")  # of the small homework; does not match itself
LIBRARIES = ("/proc", "/sys", "/usr/lib", "/usr/share", "/usr/local/lib", "/opt/venv", "/usr/include")

with open("/tmp/control", "w") as file:  # the scan finds what is there
    file.write("CANARY" + "7f3a-" + "0" * 16)

seen = 0
for folder, folders, names in os.walk("/", onerror=lambda error: None):
    folders[:] = [f for f in folders if os.path.join(folder, f) not in LIBRARIES]
    for name in names:
        path = os.path.join(folder, name)
        try:
            if not os.path.isfile(path) or os.path.getsize(path) > 1 << 24:
                continue
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            continue
        seen += 1
        if path == "/tmp/control":
            print("CONTROL", bool(TOKEN.search(data)))
        elif TOKEN.search(data) or HIDDEN.search(data):
            print("LEAK", path)
        if re.search(r"(?:solutions|checks|gradebook|reference_models)[^/]*(?:\.py|\.db|\.ipynb)?$", path):
            if "site-packages" not in path and "dist-packages" not in path:
                print("LEAK name", path)
for name, value in os.environ.items():
    if TOKEN.search(f"{name}={value}".encode()):
        print("LEAK environment", name)
print("files read:", seen)


def double(x):
    return x
