"""Laws of binary images made of bars, with every pixel flipped with a small chance ε: their exact log p.

Parallel bars: a fair coin says rows or columns, a fair coin a bar says white or black. Given the orientation the bars
are independent,

    p(x) = ½ Π_rows g(row) + ½ Π_columns g(column),      g(bar) = ½ Π p(pixel | white) + ½ Π p(pixel | black)

Crossed bars: every row and every column is white with chance q, independently, and a pixel is white where either of its
two bars is. Given the columns the rows are independent, so 2^W terms suffice for images of W columns,

    p(x) = Σ_c q^|c| (1 − q)^{W − |c|} Π_rows [ q Π_j p(x_ij | white) + (1 − q) Π_j p(x_ij | c_j) ]

The crossed ones are those of "Forming sparse representations by local anti-Hebbian learning" (Földiák, 1990),
https://doi.org/10.1007/BF02331346, with flips.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from reference_models.exact.states import every_state


def bars_log_prob(x: Tensor, flip: float) -> Tensor:
    """log p of parallel bars: images (N, 1, S, S) of zeros and ones to float64 (N,), nats. flip: ε in (0, 1)."""

    def given(pixels: Tensor) -> Tensor:  # (N, bars, pixels of a bar)
        white, length = pixels.sum(2), pixels.shape[2]
        one = white * math.log(1 - flip) + (length - white) * math.log(flip)
        other = white * math.log(flip) + (length - white) * math.log(1 - flip)
        return (torch.logaddexp(one, other) - math.log(2)).sum(1)

    x = x.double()[:, 0]
    return torch.logaddexp(given(x), given(x.transpose(1, 2))) - math.log(2)


def crossed_bars_log_prob(x: Tensor, white: float, flip: float) -> Tensor:
    """log p of crossed bars: images (N, 1, H, W) of zeros and ones to float64 (N,), nats.

    white: q, the chance of a bar to be white. flip: ε in (0, 1).
    """
    x = x.double()[:, 0]  # (N, H, W)
    columns = every_state((x.shape[2],), like=x)  # (C, W)
    on, off = math.log(1 - flip), math.log(flip)
    is_white = x.sum(2) * on + (1 - x).sum(2) * off  # (N, H): each row, if its bar is white
    agrees = x @ columns.T + (1 - x) @ (1 - columns).T  # (N, H, C): pixels of a row that are as the columns say
    as_columns = agrees * on + (x.shape[2] - agrees) * off
    row = torch.logaddexp(math.log(white) + is_white.unsqueeze(2), math.log1p(-white) + as_columns)  # (N, H, C)
    number = columns.sum(1)
    prior = number * math.log(white) + (len(columns[0]) - number) * math.log1p(-white)  # (C,)
    return torch.logsumexp(prior + row.sum(1), dim=1)
