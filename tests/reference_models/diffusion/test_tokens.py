"""The network of symbols: its embedding by hand, and who sees whom."""

from __future__ import annotations

import torch

from reference_models.diffusion.tokens import TokenTransformer
from tests.reference_models.helpers import close, perturb


def network(depth: int = 2) -> TokenTransformer:
    return perturb(TokenTransformer((2, 2), 4, 3, dim=8, heads=2, depth=depth), 0.3)


def test_without_blocks_a_logit_is_that_of_symbol_position_and_time() -> None:
    """Cosines and sines of t ω_i, ω_i = 10000^{-i/4} for a width of 8, then the layers one by one."""
    net, x, t = network(depth=0), torch.tensor([[[0, 3], [2, 1]]]), torch.tensor([5])
    rates = 10000.0 ** -(torch.arange(4) / 4)
    waves = torch.cat([torch.cos(5 * rates), torch.sin(5 * rates)])
    told = net.time[2](torch.nn.functional.silu(net.time[0](waves)))
    for place, symbol in enumerate([0, 3, 2, 1]):
        h = net.symbols.weight[symbol] + net.positions[place] + told
        assert close(net(x, t)[0].reshape(4, 3)[place], net.head(h), 1e-12)


def test_every_position_sees_every_other() -> None:
    net, x, t = network(), torch.zeros(1, 2, 2, dtype=torch.long), torch.tensor([3])
    for place in range(4):
        other = x.clone()
        other.view(-1)[place] = 1
        moved = (net(other, t) - net(x, t)).abs().amax(-1)
        assert bool((moved > 1e-9).all())


def test_symbols_and_positions_that_change_places_together_take_their_logits_along() -> None:
    net, x, t = network(), torch.tensor([[[0, 3], [2, 1]]]), torch.tensor([3])
    before, order = net(x, t).reshape(4, 3), torch.tensor([2, 0, 3, 1])
    assert not close(net(x.view(-1)[order].view(1, 2, 2), t).reshape(4, 3), before[order], 1e-3)
    net.positions.data = net.positions.data[order]
    assert close(net(x.view(-1)[order].view(1, 2, 2), t).reshape(4, 3), before[order], 1e-12)
