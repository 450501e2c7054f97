"""Densities on a grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.vocabulary.likelihood import assert_finite_log_probs
from autograder.vocabulary.tensors import as_double, assert_real

LOG_2PI = math.log(2 * math.pi)


def assert_integrates_to_one(
    log_prob: Callable[[Tensor], Any],
    box: Sequence[tuple[float, float]] | Tensor,
    *,
    points: int = 200,
    widen: float = 1.3,
    atol: float = 5e-3,
    dtype: torch.dtype = torch.float64,
    what: str = "`log_prob`",
) -> float:
    """A density over one, two or three dimensions has integral 1, by the midpoint rule on a grid. Returns the integral.

    Args:
        log_prob: maps points (N, D) to nats (N,).
        box: lower and upper end of each coordinate; or samples of the model's own law (N, D), whose range is taken,
            `widen` times as wide. A fixed box of ±9 held 0.955 of a right flow's mass.
        points: along each coordinate. The rule is exact to all digits once the spacing is well below the narrowest
            feature of the density.
        atol: accepted distance from 1.
    """
    ends = _box(box, widen)
    if not 1 <= len(ends) <= 3 or points < 2:
        raise AuthorError(f"a grid has 1 to 3 dimensions and 2 or more points, got {len(ends)} and {points}")
    axes = [low + (torch.arange(points, dtype=torch.float64) + 0.5) * (high - low) / points for low, high in ends]
    grid = torch.cartesian_prod(*axes).reshape(-1, len(ends)).to(dtype)
    values = as_double(assert_finite_log_probs(log_prob(grid), len(grid), what))
    log_cell = sum(math.log((high - low) / points) for low, high in ends)
    total = float((values.logsumexp(0) + log_cell).exp())
    if abs(total - 1) <= atol:
        return total
    tries = {
        "the sign is flipped: this is the negative log-density": -values,
        f"the constant −(D/2) ln 2π is missing, with D = {len(ends)}": values - len(ends) / 2 * LOG_2PI,
        f"averaged over the {len(ends)} dimensions: a log-density is the sum over them": values * len(ends),
        "in bits: natural logarithms are asked for": values * math.log(2),
    }
    hits = [hint for hint, v in tries.items() if abs(float((v.logsumexp(0) + log_cell).exp()) - 1) <= min(atol, 5e-3)]
    where = " × ".join(f"[{low:.3g}, {high:.3g}]" for low, high in ends)
    raise Wrong(
        f"{what} should be a density, with integral 1; over {where} ({points} points a side) yours has {total:.5g}, "
        f"accepted error {atol:.1g}",
        hint=hits[0] if len(hits) == 1 else None,
    )


def _box(box: Sequence[tuple[float, float]] | Tensor, widen: float) -> list[tuple[float, float]]:
    if not isinstance(box, Tensor):
        ends = [(float(low), float(high)) for low, high in box]
    else:
        samples = as_double(assert_real(box, "the samples")).reshape(len(box), -1)
        low, high = samples.amin(0), samples.amax(0)
        middle, half = (low + high) / 2, widen * (high - low) / 2
        ends = list(zip((middle - half).tolist(), (middle + half).tolist(), strict=True))
    if not all(low < high for low, high in ends):
        raise AuthorError(f"each coordinate needs a lower end below its upper one, got {ends}")
    return ends
