"""What the judge of homework 1 knows exactly: laws, masks, receptive fields."""

from __future__ import annotations

import torch

from autograder.checks import (
    TableConditional,
    assert_finite,
    conditional_log_probs,
    table_law,
)
from reference_models.exact import bars_log_prob as bars_law  # noqa: F401 - checks take all they know exactly from here

from ..common.draws import F64, bits


def draw_bars(n, side, flip, rng):
    bars = bits(rng, n, side, 1).expand(-1, side, side)
    x = torch.where(bits(rng, n, 1, 1) == 1, bars, bars.transpose(1, 2))
    return torch.where(torch.rand(x.shape, generator=rng) < flip, 1 - x, x).unsqueeze(1)


def pixelcnn_field(layers, kernel):
    """(row, column) of all pixels that the logit at (0, 0) sees."""
    half = kernel // 2
    before = [(r, c) for r in range(-half, 1) for c in range(-half, half + 1) if r < 0 or c < 0]
    seen = {(0, 0)}
    for layer in range(layers):
        offsets = before if layer == 0 else [*before, (0, 0)]
        seen = {(r + dr, c + dc) for r, c in seen for dr, dc in offsets}
    return seen


def kernel_mask(kind, k):
    return (torch.arange(k * k) < k * k // 2 + (kind == "B")).float().reshape(k, k)


def filled_law(table, groups):
    """The law of filling pixels group by group, those not yet filled being zero."""
    states, _ = table_law(table)
    log_p, filled = torch.zeros(len(states), dtype=F64), torch.zeros_like(states)
    for group in groups:
        terms = conditional_log_probs(TableConditional(table)(filled), states)
        log_p += terms[:, group].sum(1)
        filled[:, group] = states[:, group]
    return log_p.exp()


def attention(q, k, v, scale):
    scores = scale * torch.einsum("bhid,bhjd->bhij", q, k)
    future = torch.ones(q.shape[2], k.shape[2]).triu(k.shape[2] - q.shape[2] + 1).bool()
    return torch.einsum("bhij,bhjd->bhid", scores.masked_fill(future, -torch.inf).softmax(-1), v)


def draw(net, n, side, rng):
    """Images drawn by the judge from the network's own conditionals."""
    x = torch.zeros(n, 1, side, side)
    for row in range(side):
        for column in range(side):
            p = assert_finite(net(x), "the logits").sigmoid()[:, 0, row, column]
            x[:, 0, row, column] = (torch.rand(n, generator=rng) < p).float()
    return x
