"""Watches every call and return of its process, in all threads, for something that looks like the expected answer."""

import sys
import threading

import torch

ROW = 4
REASON = {"wrong", "timeout"}

seen = []


def watch(frame, event, arg):
    for value in [arg, *frame.f_locals.values()]:
        if type(value) is torch.Tensor and len(seen) < 10_000:
            seen.append(value)
    return watch


def double(x):
    for wanted in seen:
        if wanted is not x and wanted.shape == x.shape and torch.equal(wanted, x + x) and x.abs().sum() > 0:
            print("LEAK an expected answer")
            return wanted
    sys.settrace(watch)
    sys.setprofile(watch)
    threading.settrace(watch)
    threading.setprofile(watch)
    return x.clone()
