"""Reads address zero."""

ROW = 8
REASON = "crash"

import ctypes


def double(x):
    ctypes.string_at(0)
