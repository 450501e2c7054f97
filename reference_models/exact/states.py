"""Laws over few states: all of them, the number of each, and whether samples follow a law.

A model of n values with K levels each has K^n states. Where these are some thousands, its probabilities can be added up
(they must give one), and samples can be counted and compared with them by Pearson's chi-square test.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from reference_models.parts.require import at_least


def every_state(shape: Sequence[int], levels: int = 2, like: Tensor | None = None) -> Tensor:
    """All images, or vectors, of a shape, with values k/(K − 1) for k = 0 … K − 1; the first value changes slowest.

    shape: of one state. levels: K.
    like: lends its device and dtype; the default ones without it.

    Returns (K^n, *shape) with n = prod(shape). Raises ValueError for fewer than two levels.
    """
    at_least("levels", levels, 2)
    dtype, device = (torch.get_default_dtype(), None) if like is None else (like.dtype, like.device)
    values = torch.arange(levels, dtype=dtype, device=device) / (levels - 1)
    return torch.cartesian_prod(*[values] * prod(shape)).reshape(-1, *shape)


def state_number(x: Tensor, levels: int = 2) -> Tensor:
    """The row of `every_state` in which each state of x (N, *shape) stands: integers, (N,)."""
    digits = (x * (levels - 1)).round().long().flatten(1)  # (N, n)
    places = torch.arange(digits.shape[1] - 1, -1, -1, device=x.device)
    return (digits * levels**places).sum(1)


def departs_from_law(samples: Tensor, log_p: Tensor, levels: int = 2, *, level: float = 1e-6) -> bool:
    """Whether a chi-square test tells the samples from a law over `every_state`.

    samples: (N, *shape), values k/(K − 1). log_p: (K^n,), nats, in the order of `every_state`.
    level: how often samples of the very law are told from it.

    States expected fewer than five times are counted together, with the next likely ones until five are expected. A
    law that leaves a single cell cannot be tested, which counts as a departure; so does a NaN.
    """
    from scipy.stats import chi2  # here, because data sets have laws too, and should load without SciPy

    expected = (log_p.detach().exp() * len(samples)).tolist()
    observed = torch.bincount(state_number(samples, levels), minlength=len(expected)).tolist()
    cells: list[list[float]] = [[0.0, 0.0]]
    for state in sorted(range(len(expected)), key=expected.__getitem__):
        if cells[-1][0] >= 5:
            cells.append([0.0, 0.0])
        cells[-1][0] += expected[state]
        cells[-1][1] += observed[state]
    if len(cells) > 1 and cells[-1][0] < 5:
        e, o = cells.pop()
        cells[-1] = [cells[-1][0] + e, cells[-1][1] + o]
    statistic = sum((o - e) ** 2 / e for e, o in cells)
    return len(cells) == 1 or not statistic < chi2.isf(level, len(cells) - 1)
