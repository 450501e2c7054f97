"""Takes memory a little at a time until there is none."""

ROW = 10
REASON = {"memory", "timeout"}  # whichever a busy machine reaches first
HARMFUL = True


def double(x):
    kept = []
    while True:
        kept.append(bytearray(1 << 26))
