"""The U-Net of DDPM: the paper's size, a block by hand, skips recorded, labels and times told."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reference_models.parts.unet import Downsample, ResidualBlock, UNet, Upsample, attention_block, group_norm
from tests.reference_models.helpers import close, perturb


def test_the_network_for_cifar10_has_the_size_of_the_paper():
    """35.7 million (appendix B), counted here by hand, layer by layer."""

    def block(c_in: int, c_out: int) -> int:
        convs = 9 * c_in * c_out + c_out + 9 * c_out * c_out + c_out
        shortcut = c_in * c_out + c_out if c_in != c_out else 0
        return 2 * c_in + convs + (512 * c_out + c_out) + 2 * c_out + shortcut

    def attention(c: int) -> int:
        return 2 * c + 4 * (c * c + c)

    down = [(128, 128), (128, 128), (128, 256), (256, 256), *[(256, 256)] * 4]
    skips = [128, 128, 128, 128, 256, 256, 256, 256, 256, 256, 256, 256]
    widths, up, width = [256] * 9 + [128] * 3, [], 256
    for channels in widths:
        up.append((width + skips.pop(), channels))
        width = channels
    total = (128 * 512 + 512) + (512 * 512 + 512) + (9 * 3 * 128 + 128) + 2 * 128 + (9 * 128 * 3 + 3)
    total += sum(block(*pair) for pair in [*down, (256, 256), (256, 256), *up])
    total += (2 + 1 + 3) * attention(256)
    total += (9 * 128**2 + 128) + 2 * (9 * 256**2 + 256) + 3 * (9 * 256**2 + 256)
    with torch.device("meta"):
        network = UNet.ddpm_cifar10()
        out = network(torch.zeros(2, 3, 32, 32), 5)
    count = sum(p.numel() for p in network.parameters())
    assert count == total
    assert round(count / 1e6, 1) == 35.7
    assert out.shape == (2, 3, 32, 32)


def test_a_residual_block_by_hand():
    block = perturb(ResidualBlock(8, 12, 16))
    x, e = torch.randn(3, 8, 4, 4), torch.randn(3, 16)

    def normal(h: Tensor, norm: torch.nn.GroupNorm) -> Tensor:
        grouped = h.reshape(3, norm.num_groups, -1)
        centred = grouped - grouped.mean(-1, keepdim=True)
        scaled = (centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()).reshape(h.shape)
        scaled = scaled * norm.weight[:, None, None] + norm.bias[:, None, None]
        return scaled * scaled.sigmoid()

    h = F.conv2d(normal(x, block.norm_in), block.conv_in.weight, block.conv_in.bias, padding=1)
    h = h + ((e * e.sigmoid()) @ block.project.weight.T + block.project.bias)[:, :, None, None]
    h = F.conv2d(normal(h, block.norm_out), block.conv_out.weight, block.conv_out.bias, padding=1)
    shortcut = torch.einsum("oi,nihw->nohw", block.shortcut.weight[:, :, 0, 0], x) + block.shortcut.bias[:, None, None]
    assert close(block(x, e), shortcut + h, 1e-10)


def test_attention_by_hand():
    """x + out(softmax(q kᵀ/√C) v) over pixels, one head."""
    block = perturb(attention_block(8))
    x = torch.randn(2, 8, 3, 3)
    tokens = block.norm(x).flatten(2).mT
    q, k, v = (tokens @ block.attention.qkv.weight.T + block.attention.qkv.bias).chunk(3, -1)
    weights = (q @ k.mT / 8**0.5).softmax(-1)
    out = (weights @ v) @ block.attention.out.weight.T + block.attention.out.bias
    assert close(block(x), x + out.mT.reshape(2, 8, 3, 3), 1e-10)


def test_blocks_start_as_their_shortcut_and_the_network_as_zero():
    x = torch.randn(2, 8, 4, 4)
    assert close(ResidualBlock(8, 8, 4)(x, torch.randn(2, 4)), x, 1e-12)
    assert close(attention_block(8)(x), x, 1e-12)
    assert close(UNet(1, 1, 8)(torch.randn(2, 1, 4, 4), torch.tensor([1, 2])), torch.zeros(2, 1, 4, 4), 0)


def test_resolutions_halve_and_double():
    x = torch.randn(2, 4, 6, 6)
    down, up = Downsample(4), Upsample(4)
    assert down(x).shape == (2, 4, 3, 3)
    with torch.no_grad():
        up.conv.weight.zero_()
        for c in range(4):
            up.conv.weight[c, c, 1, 1] = 1.0
        up.conv.bias.zero_()
    assert close(up(x), x.repeat_interleave(2, -1).repeat_interleave(2, -2), 1e-12)


def test_every_activation_of_the_way_down_comes_back_on_the_way_up():
    """Inputs of the stages going up end with the outputs going down, last first."""
    network = perturb(UNet(2, 1, 8, (1, 2, 2), blocks=1, attention_at=(1,)))
    down: list[Tensor] = []
    up: list[Tensor] = []
    network.conv_in.register_forward_hook(lambda m, i, o: down.append(o))
    for layer in network.down:
        layer.register_forward_hook(lambda m, i, o: down.append(o))
    for layer in network.up:
        if not isinstance(layer, Upsample):
            layer.register_forward_hook(lambda m, i, o: up.append(i[0]))
    network(torch.randn(2, 2, 8, 8), torch.tensor([1, 5]))
    assert len(down) == len(up) == 6
    for skip, joined in zip(reversed(down), up, strict=True):
        assert close(joined[:, -skip.shape[1] :], skip, 0)


def test_the_way_out_is_norm_swish_and_a_convolution():
    network = perturb(UNet(2, 1, 8, (1, 2)))
    last: list[Tensor] = []
    network.up[-1].register_forward_hook(lambda m, i, o: last.append(o))
    out = network(torch.randn(2, 2, 4, 4), torch.tensor([1, 5]))
    grouped = last[0].reshape(2, network.norm_out.num_groups, -1)
    centred = grouped - grouped.mean(-1, keepdim=True)
    normal = (centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()).reshape(last[0].shape)
    normal = normal * network.norm_out.weight[:, None, None] + network.norm_out.bias[:, None, None]
    expected = F.conv2d(normal * normal.sigmoid(), network.conv_out.weight, network.conv_out.bias, padding=1)
    assert close(out, expected, 1e-10)


def test_tokens_are_attended_to_wherever_pixels_are():
    """At levels with attention, image by image, whatever the order of tokens; without tokens there is nothing more."""
    network = perturb(UNet(2, 1, 8, (1, 2), attention_at=(1,), context_features=5))
    x, t, context = torch.randn(3, 2, 4, 4), torch.tensor([1, 5, 9]), torch.randn(3, 7, 5)
    out = network(x, t, context)
    assert close(network(x, t, context.flip(1)), out, 1e-10)  # tokens are a set
    assert close(network(x[0], t[0], context[0]), out[0], 1e-9)
    assert not close(network(x, t, context.flip(0)), out, 1e-6)
    out.square().sum().backward()
    assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in network.parameters())
    stages = [layer for layer in (*network.down, *network.middle, *network.up) if hasattr(layer, "attention")]
    assert [stage.cross is not None for stage in stages] == [False, True, True, False, True, True, False, False]
    fresh = UNet(2, 1, 8, (1, 2), attention_at=(1,), context_features=5)
    h = torch.randn(3, 16, 2, 2)
    assert close(fresh.middle[0].cross(h, context), h, 0)  # starts as its shortcut
    assert {name for name in fresh.state_dict() if "cross" not in name} == set(UNet(2, 1, 8, (1, 2)).state_dict())


def test_attention_stands_where_it_was_asked_for():
    network = UNet(1, 1, 8, (1, 2, 2), blocks=2, attention_at=(1,))
    down = [type(layer.attention).__name__ for layer in network.down if not isinstance(layer, Downsample)]
    up = [type(layer.attention).__name__ for layer in network.up if not isinstance(layer, Upsample)]
    yes, no = "SpatialSelfAttention", "Identity"
    assert down == [no, no, yes, yes, no, no]
    assert up == [no, no, no, yes, yes, yes, no, no, no]
    assert [type(layer.attention).__name__ for layer in network.middle] == [yes, no]


def test_the_time_is_scaled_embedded_and_heard():
    """t = 0.3 at scale 1000 is t = 300 at scale 1; the embedding is sines and cosines through two layers."""
    plain, scaled = UNet(1, 1, 8), UNet(1, 1, 8, time_scale=1000.0)
    scaled.load_state_dict(perturb(plain).state_dict())
    x = torch.randn(2, 1, 4, 4)
    assert close(plain(x, 300), scaled(x, 0.3), 1e-9)
    assert close(plain(x, torch.tensor(300)), plain(x, torch.tensor([300.0, 300.0])), 1e-12)
    assert not close(plain(x, 300), plain(x, 301), 1e-6)
    angles = 300 * torch.exp(-math.log(10000) * torch.arange(4) / 4)
    sines = torch.cat([angles.cos(), angles.sin()])
    first, second = plain.time[0], plain.time[2]
    hidden = first.weight @ sines + first.bias
    expected = second.weight @ (hidden * hidden.sigmoid()) + second.bias
    assert close(plain.embed(300, None, 1)[0], expected, 1e-10)


def test_labels_add_their_embedding_and_none_is_the_last():
    network = perturb(UNet(1, 1, 8, num_classes=3))
    x, t = torch.randn(2, 1, 4, 4), torch.tensor([1, 2])
    assert close(network(x, t), network(x, t, torch.tensor([3, 3])), 1e-12)
    assert not close(network(x, t, torch.tensor([0, 1])), network(x, t), 1e-6)
    difference = network.embed(t, torch.tensor([0, 1]), 2) - network.embed(t, torch.tensor([2, 2]), 2)
    assert close(difference, network.labels.weight[:2] - network.labels.weight[2], 1e-12)


def test_one_image_or_many_in_float32():
    network = perturb(UNet(1, 2, 8, (1, 2), num_classes=2)).float()
    x, t, y = torch.randn(64, 1, 4, 4, dtype=torch.float32), torch.arange(64), torch.arange(64) % 2
    out = network(x, t, y)
    assert out.dtype == torch.float32
    assert out.shape == (64, 2, 4, 4)
    assert close(network(x[5], t[5], y[5]), out[5], 1e-3 * float(out.abs().max()))


def test_gradients_reach_every_parameter_once_moved_from_zero():
    network = perturb(UNet(1, 1, 8, (1, 2), num_classes=2))
    network(torch.randn(3, 1, 4, 4), torch.tensor([1, 2, 3]), torch.tensor([0, 1, 2])).square().sum().backward()
    assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in network.parameters())


def test_dropout_acts_in_training_only():
    network = perturb(UNet(1, 1, 8, dropout=0.5))
    x = torch.randn(2, 1, 4, 4)
    assert not close(network(x, 1), network(x, 1), 1e-9)
    network.eval()
    assert close(network(x, 1), network(x, 1), 0)


@pytest.mark.parametrize("channels", [2, 6, 8, 12, 20, 24, 32, 40, 64, 96, 128, 144, 256])
def test_groups_divide_the_channels(channels):
    groups = group_norm(channels).num_groups
    assert channels % groups == 0
    assert groups == 32 if channels in (128, 256) else groups <= 32


def test_what_does_not_fit_is_refused():
    network = UNet(1, 1, 8, (1, 2), num_classes=2)
    with pytest.raises(ValueError, match=r"x must have shape \(\*B, 1, H, W\), got \(2, 3, 4, 4\)"):
        network(torch.zeros(2, 3, 4, 4), 0)
    with pytest.raises(ValueError, match=r"height and width must be multiples of 2, got \(3, 4\)"):
        network(torch.zeros(2, 1, 3, 4), 0)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.2"):
        network(torch.zeros(2, 1, 4, 4), 0, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="built without num_classes"):
        UNet(1, 1, 8)(torch.zeros(2, 1, 4, 4), 0, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="y is a label or a context, got 3 classes and 5 features"):
        UNet(1, 1, 8, num_classes=3, context_features=5)
    for wrong in (None, torch.zeros(2, 4), torch.zeros(3, 4, 5), torch.zeros(2, 4, 6)):
        got = r"None" if wrong is None else str(tuple(wrong.shape)).replace("(", r"\(").replace(")", r"\)")
        with pytest.raises(ValueError, match=rf"context must have shape \(2, L, 5\), got {got}"):
            UNet(1, 1, 8, context_features=5)(torch.zeros(2, 1, 4, 4), 0, wrong)
    with pytest.raises(ValueError, match=r"attention_at names levels \[2\]"):
        UNet(1, 1, 8, (1, 2), attention_at=(2,))
    with pytest.raises(ValueError, match="base must be even"):
        UNet(1, 1, 7)
    with pytest.raises(ValueError, match="blocks must be at least 1, got 0"):
        UNet(1, 1, 8, blocks=0)
