"""Replaces the built-in functions that every library relies on."""

ROW = 2
REASON = {"wrong", "crash"}
EARNS = None  # its own `line` needs the functions it broke

import builtins


def double(x):
    return x


def yes(*args, **kwargs):
    return True


builtins.abs = builtins.all = builtins.any = builtins.isinstance = builtins.len = builtins.hasattr = yes
