"""One number against its right value, and what a message says of it: the property, the input in words, both numbers.

Numbers are shown where the input was drawn by the judge and is told in words only, so that they give nothing away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autograder.errors import Wrong
from autograder.vocabulary.tensors import as_double, assert_real, assert_shape


def assert_number(
    value: Any,
    expected: float,
    what: str,
    *,
    tolerance: float,
    asked: str = "",
    alternatives: Mapping[str, float] | None = None,
    show: bool = True,
) -> float:
    """A number, or a tensor of shape (), lies within `tolerance` of its right value. Returns it.

    Args:
        what: names the number, "the Fréchet distance".
        asked: names the input it was asked with, "of two Gaussians whose covariances do not commute".
        alternatives: sentences by the wrong values that prove them; one is a hint when it alone fits.
        show: tell the student both numbers. False where the right number, or the input, is the answer to a task.
    """
    name = f"{what} {asked}".strip()
    got = float(as_double(assert_real(assert_shape(value, (), name), name)))
    if abs(got - expected) <= tolerance:
        return got
    near = min(tolerance, abs(got - expected) / 100)
    fits = {sentence for sentence, wrong in (alternatives or {}).items() if abs(got - wrong) <= near}
    both = f"yours {got:.6g}, expected {expected:.6g}"
    raise Wrong(
        f"{name} is off by {abs(got - expected):.3g}{': ' + both if show else ''} (accepted error {tolerance:.1g})",
        hint=fits.pop() if len(fits) == 1 else None,
        detail=both,
    )
