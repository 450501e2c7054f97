"""Laws of bars against sums over every picture without flips, and against draws."""

from __future__ import annotations

import pytest
import torch

from reference_models.exact import bars_log_prob, crossed_bars_log_prob, every_state
from tests.reference_models.helpers import close


def flipped_from(x: torch.Tensor, patterns: torch.Tensor, flip: float) -> torch.Tensor:
    """P(x | pattern) of images (N, n) and patterns (K, n): (N, K)."""
    apart = (x[:, None] != patterns[None]).sum(-1)
    return flip**apart * (1 - flip) ** (x.shape[1] - apart)


@pytest.mark.parametrize(("side", "flip"), [(2, 0.3), (3, 0.05)])
def test_parallel_bars_are_the_mean_over_their_patterns(side, flip):
    colours = every_state((side,))
    rows = colours[:, :, None].expand(-1, side, side)
    patterns = torch.cat([rows, rows.transpose(1, 2)]).flatten(1)
    x = every_state((1, side, side))
    assert close(bars_log_prob(x, flip).exp(), flipped_from(x.flatten(1), patterns, flip).mean(1), 1e-12)


@pytest.mark.parametrize(("shape", "white", "flip"), [((2, 3), 0.3, 0.1), ((3, 2), 0.7, 0.02), ((3, 3), 0.25, 0.05)])
def test_crossed_bars_are_the_mean_over_all_rows_and_columns(shape, white, flip):
    height, width = shape
    bars = every_state((height + width,))
    weight = white ** bars.sum(1) * (1 - white) ** (height + width - bars.sum(1))
    patterns = torch.maximum(bars[:, :height, None], bars[:, None, height:]).flatten(1)
    x = every_state((1, *shape))
    found = crossed_bars_log_prob(x, white, flip).exp()
    assert close(found, flipped_from(x.flatten(1), patterns, flip) @ weight, 1e-12)
    assert close(found.sum(), 1.0, 1e-12)
