"""DiT: the paper's size, a block by hand, patches cut and put back, positions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from reference_models.diffusion.dit import DiT, DiTBlock, position_grid
from tests.reference_models.helpers import close, perturb


def test_xl_2_has_the_size_of_the_paper():
    """675 million (table 4), counted by hand: 28 blocks of width 1152, embeddings, the last layer."""
    d = 1152
    block = (3 * d * d + 3 * d) + (d * d + d) + (4 * d * d + 4 * d) + (4 * d * d + d) + (6 * d * d + 6 * d)
    embeddings = (4 * 4 * d + d) + (256 * d + d + d * d + d) + 1001 * d
    last = (2 * d * d + 2 * d) + (32 * d + 32)
    with torch.device("meta"):
        network = DiT.xl_2()
        out = network(torch.zeros(1, 4, 32, 32), 5)
    count = sum(p.numel() for p in network.parameters())
    assert count == 28 * block + embeddings + last
    assert round(count / 1e6) == 675
    assert out.shape == (1, 8, 32, 32)
    assert len(network.blocks) == 28


def test_a_block_by_hand():
    """Attention by torch's own module, normalisation and modulation written out."""
    block = perturb(DiTBlock(8, 2))
    h, c = torch.randn(3, 5, 8), torch.randn(3, 8)
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    attention.load_state_dict(
        {
            "in_proj_weight": block.attention.qkv.weight,
            "in_proj_bias": block.attention.qkv.bias,
            "out_proj.weight": block.attention.out.weight,
            "out_proj.bias": block.attention.out.bias,
        }
    )
    six = (c * c.sigmoid()) @ block.modulation[1].weight.T + block.modulation[1].bias
    gamma_1, beta_1, alpha_1, gamma_2, beta_2, alpha_2 = six[:, None].split(8, -1)

    def normal(v: Tensor) -> Tensor:
        return (v - v.mean(-1, keepdim=True)) / (v.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()

    x = (1 + gamma_1) * normal(h) + beta_1
    h_1 = h + alpha_1 * attention(x, x, x, need_weights=False)[0]
    hidden = ((1 + gamma_2) * normal(h_1) + beta_2) @ block.mlp[0].weight.T + block.mlp[0].bias
    gelu = 0.5 * hidden * (1 + torch.tanh((2 / math.pi) ** 0.5 * (hidden + 0.044715 * hidden**3)))
    expected = h_1 + alpha_2 * (gelu @ block.mlp[2].weight.T + block.mlp[2].bias)
    assert close(block(h, c), expected, 1e-9)


def test_a_block_starts_as_the_identity_and_the_network_as_zero():
    h, c = torch.randn(3, 5, 8), torch.randn(3, 8)
    assert close(DiTBlock(8, 2)(h, c), h, 0)
    network = DiT(4, 1, dim=8, depth=1, heads=2)
    assert close(network(torch.randn(2, 1, 4, 4), torch.tensor([1, 2])), torch.zeros(2, 1, 4, 4), 0)


def test_the_last_layer_by_hand():
    """Shift comes first and scale second, as in the paper's code; without blocks the last layer sees the patches."""
    network = perturb(DiT(4, 1, patch=4, dim=8, depth=1, heads=2))
    for p in network.blocks.parameters():
        nn.init.zeros_(p)
    x = torch.randn(2, 1, 4, 4)
    c = network.conditioning(3, None, 2)
    shift, scale = ((c * c.sigmoid()) @ network.modulation_out[1].weight.T + network.modulation_out[1].bias).chunk(2, 1)
    h = x.flatten(1) @ network.embed.weight.flatten(1).T + network.embed.bias + network.positions
    h = (h - h.mean(-1, keepdim=True)) / (h.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    out = ((1 + scale) * h + shift) @ network.head.weight.T + network.head.bias
    assert close(network(x, 3), out.reshape(2, 1, 4, 4), 1e-9)


def test_patches_are_put_back_where_they_were_cut():
    """Tokens that hold the pixels of their patch, (row, column, channel), give the image back."""
    network = DiT(6, 3, patch=2, dim=8, heads=2)
    x = torch.randn(2, 3, 6, 6)
    tokens = torch.stack(
        [
            x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].permute(0, 2, 3, 1).flatten(1)
            for i in range(3)
            for j in range(3)
        ],
        dim=1,
    )
    assert close(network.unpatchify(tokens), x, 0)


def test_patches_move_with_their_positions():
    """Exchange two patches and their positions, and the output's patches are exchanged: nothing else knows places."""
    network = perturb(DiT(4, 1, patch=2, dim=8, depth=2, heads=2))
    x = torch.randn(1, 1, 4, 4)
    out = network(x, 7)
    swapped = x.clone()
    swapped[..., :2, :2], swapped[..., 2:, 2:] = x[..., 2:, 2:], x[..., :2, :2]
    network.positions = network.positions[[3, 1, 2, 0]]
    back = network(swapped, 7)
    assert close(back[..., 2:, 2:], out[..., :2, :2], 1e-9)
    assert close(back[..., :2, 2:], out[..., :2, 2:], 1e-9)


def test_positions_are_sines_of_row_then_column():
    grid = position_grid(3, 8)
    assert grid.shape == (9, 8)
    for row in range(3):
        for column in range(3):
            expected = []
            for place in (row, column):
                angles = [place, place / 100.0]
                expected += [*map(math.cos, angles), *map(math.sin, angles)]
            assert close(grid[3 * row + column], torch.tensor(expected), 1e-12)


def test_time_and_label_are_heard():
    network = perturb(DiT(4, 1, dim=8, depth=1, heads=2, num_classes=3))
    x, t = torch.randn(2, 1, 4, 4), torch.tensor([5, 5])
    none = torch.tensor([3, 3])
    assert close(network(x, t), network(x, t, none), 1e-12)
    assert not close(network(x, t, torch.tensor([0, 1])), network(x, t), 1e-6)
    assert not close(network(x, t + 1), network(x, t), 1e-6)
    difference = network.conditioning(t, torch.tensor([0, 1]), 2) - network.conditioning(t, none, 2)
    assert close(difference, network.labels.weight[:2] - network.labels.weight[3], 1e-12)
    scaled = DiT(4, 1, dim=8, depth=1, heads=2, num_classes=3, time_scale=1000.0)
    scaled.load_state_dict(network.state_dict())
    assert close(scaled(x, 0.005), network(x, t), 1e-9)


def test_one_image_or_many_in_float32():
    network = perturb(DiT(4, 1, dim=8, depth=1, heads=2)).float()
    x, t = torch.randn(64, 1, 4, 4, dtype=torch.float32), torch.arange(64)
    out = network(x, t)
    assert out.dtype == torch.float32
    assert close(network(x[9], t[9]), out[9], 1e-3 * float(out.abs().max()))


def test_gradients_reach_every_parameter_once_moved_from_zero():
    network = perturb(DiT(4, 1, dim=8, depth=2, heads=2, num_classes=2))
    network(torch.randn(3, 1, 4, 4), torch.tensor([1, 2, 3]), torch.tensor([0, 1, 2])).square().sum().backward()
    assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in network.parameters())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="size must be a multiple of the patch, got 5 and 2"):
        DiT(5, 1)
    with pytest.raises(ValueError, match="dim must be a multiple of 4"):
        DiT(4, 1, dim=6, heads=2)
    with pytest.raises(ValueError, match="dim must be divisible by heads"):
        DiT(4, 1, dim=8, heads=3)
    with pytest.raises(ValueError, match=r"x must have shape \(1, 4, 4\)"):
        DiT(4, 1, dim=8, heads=2)(torch.zeros(2, 1, 8, 8), 0)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.2 .*, got -1\.\.3"):
        DiT(4, 1, dim=8, heads=2, num_classes=2)(torch.zeros(2, 1, 4, 4), 0, torch.tensor([-1, 3]))
    with pytest.raises(ValueError, match="built without num_classes"):
        DiT(4, 1, dim=8, heads=2)(torch.zeros(2, 1, 4, 4), 0, torch.tensor([0, 1]))
