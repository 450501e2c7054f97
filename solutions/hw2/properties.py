"""Properties that several checks of homework 2 share: of a map, of a pair of maps, of the calls they make."""

from __future__ import annotations

import torch

from autograder.checks import (
    Wrong,
    assert_batch_consistent,
    assert_close,
    assert_dtype,
    assert_inverse,
    assert_log_det,
    assert_tuple,
    assert_unchanged_arguments,
    call,
    records,
)


def assert_map(fn, x, *args, expected, what, undone_by=None, alternatives=None, single=True):
    """A map follows its formula and says its own volume; arguments stay, rows stay apart, float32 stays float32.

    Args:
        x: (B, *), float64, B different from the numbers of a sample.
        args: further arguments, the same for all samples: weights, a mask, a network.
        expected: the judge's result, of x's shape.
        undone_by: the inverse of `fn`, for maps that may rightly work without gradients.
        single: False for a module whose own weights are in double precision.
    """
    assert_unchanged_arguments(fn, x, *args, what=what)
    result, _ = assert_tuple(call(fn, x, *args, mode="eval"), 2, f"the result of {what}", names=("result", "logdet"))
    assert_close(result, expected, f"the result of {what}", alternatives=alternatives)
    assert_log_det(fn, x, *args, undone_by=undone_by, what=what)
    assert_batch_consistent(lambda rows: call(fn, rows, *args, mode="eval"), x[:3], what=what)
    floats = [a.float() if isinstance(a, torch.Tensor) else a for a in (x, *args)]
    for part in assert_tuple(call(fn, *floats, mode="eval"), 2, f"the result of {what}") if single else ():
        assert_dtype(part, torch.float32, f"what {what} makes of float32")


def assert_undoes(forward, inverse, x, z, *args, what, undone_by):
    """`inverse` undoes `forward` and the other way round, and says the volume of its own direction."""
    assert_inverse(forward, inverse, x, z, *args, what=undone_by, inverse_what=what)
    assert_log_det(inverse, z, *args, undone_by=forward, what=what)


def assert_calls(student, inner, run, most, what, *, exactly=False):
    """`run(net)` asks its network at most so many times."""
    recorder = student.probe("Recorder", inner)
    run(recorder)
    made = len(records(recorder))
    if made == 0:
        raise Wrong(f"{what} does not ask its network")
    if made > most:
        allowed = "exactly one call is" if exactly else f"at most {most} calls are"
        raise Wrong(f"{what} asks its network {made} times; {allowed} needed here")
