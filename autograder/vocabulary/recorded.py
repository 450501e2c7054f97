"""What a `Recorder` was asked, call by call: the points, and the time or condition beside each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from autograder.errors import Wrong
from autograder.vocabulary.tensors import assert_real

Records = Sequence[Mapping[str, Any]]


def told(records: Records, where: int | str, what: str) -> list[Tensor]:
    """One argument of every call, finite and real.

    Args:
        records: as `autograder.student.records` returns them.
        where: position of the argument, or its name; an argument given by name is found at no position, and where there
            is one argument by name only, it is taken for the position after the last.

    Raises:
        Wrong: the network was never asked, or a call lacks the argument.
    """
    if not records:
        raise Wrong("the network was never asked")
    found = []
    for number, record in enumerate(records, 1):
        args, kwargs = list(record["args"]), dict(record["kwargs"])
        if isinstance(where, str):
            value = kwargs.get(where)
        else:
            args += list(kwargs.values())
            value = args[where] if where < len(args) else None
        if value is None:
            raise Wrong(f"the network is asked without {what} in call {number} of {len(records)}")
        found.append(assert_real(value, f"{what} that the network is asked with"))
    return found


def points_of(records: Records, shape: Sequence[int], what: str = "the points") -> list[Tensor]:
    """The first argument of every call, each with the shape of the whole batch.

    Raises:
        Wrong: the network was never asked, or about another number of samples at once.
    """
    found = told(records, 0, what)
    for number, points in enumerate(found, 1):
        if points.shape != tuple(shape):
            raise Wrong(
                f"the network is asked about {what} of shape {tuple(points.shape)} in call {number} of {len(found)}, "
                f"expected the whole batch at once, {tuple(shape)}"
            )
    return found
