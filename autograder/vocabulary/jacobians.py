"""Jacobians of single samples, measured, and what a map must return for that."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autograder.errors import Wrong
from autograder.student import Mode, contents, jacobian_blocks
from autograder.vocabulary.calls import assert_tuple
from autograder.vocabulary.tensors import as_double, assert_real
from autograder.vocabulary.words import in_words


def measured_blocks(
    fn: Callable[..., Any],
    x: Tensor,
    *args: Any,
    output: int | None = 0,
    mode: Mode | None = "eval",
    seed: int | None = 0,
    what: str = "`forward`",
) -> Tensor:
    """The Jacobian of each sample, (B, D, D), float64, of full rank: a map that is none has no log-determinant.

    Raises:
        Wrong: the map changes the number of dimensions, mixes samples, is not differentiable or not invertible there.
    """
    blocks = as_double(jacobian_blocks(fn, x, *args, output=output, mode=mode, seed=seed))
    if blocks.shape[1] != blocks.shape[2]:
        raise Wrong(
            f"{what} should keep the number of dimensions: it maps samples of {blocks.shape[2]} numbers to "
            f"{blocks.shape[1]}, so it can not be undone"
        )
    if not bool(torch.isfinite(blocks).all()):
        raise Wrong(f"the derivative of {what} should be finite everywhere; asked at {in_words(x)} it is not")
    if not bool((blocks != 0).any()):
        raise Wrong(
            f"the result of {what} has derivative 0 with respect to its argument everywhere",
            hint="the graph is cut (a detach, `no_grad`, NumPy, a rounding), or the argument is not used",
        )
    singular = torch.linalg.slogdet(blocks)[1] == -math.inf
    if singular.any():
        raise Wrong(
            f"{what} should be invertible, but at {int(singular.sum())} of {len(x)} points its Jacobian has "
            f"determinant 0: some direction is lost"
        )
    return blocks


def result_part(result: Any, output: int | None, what: str) -> Tensor:
    """The tensor meant by `output` in what a map returns, finite and without its graph; None means all of it."""
    if output is not None:
        result = contents(result)
        if not isinstance(result, tuple | list) or len(result) <= output:
            assert_tuple(result, max(output + 1, 2), f"the result of {what}")
        result = result[output]
    return assert_real(result, f"the result of {what}")


def assert_same_size(made: Tensor, given: Tensor, what: str) -> None:
    """A map gives each sample as many numbers as it had."""
    if made.dim() == 0 or len(made) != len(given) or made.numel() != given.numel():
        raise Wrong(
            f"{what} should map each sample to one with as many numbers: from shape {tuple(given.shape)} it makes "
            f"{tuple(made.shape)}"
        )
