"""Has a timer raise and rewrite things a thousand times a second, in the middle of what the worker does."""

import signal

import torch

ROW = 8
REASON = {"wrong", "crash", "tampered", "timeout"}
EARNS = None  # the timer strikes everywhere

kept = []


def strike(number, frame):
    while frame is not None:
        for name in ("reply", "value", "result", "said"):
            if name in frame.f_locals and isinstance(frame.f_locals[name], (torch.Tensor, dict)):
                kept.append(name)
        frame = frame.f_back
    raise SystemExit("struck")


def double(x):
    signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    return x
