"""The residual networks of adversarial families, block by block."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reference_models.parts.residual_gan import (
    ConditionalBatchNorm,
    DownBlock,
    ResNetCritic,
    ResNetGenerator,
    UpBlock,
    class_batch_norm,
    double,
)
from tests.reference_models.helpers import close, perturb


def test_doubling_repeats_each_pixel_in_both_directions() -> None:
    x = torch.randn(2, 3, 2, 4)
    assert close(double(x), F.interpolate(x, scale_factor=2, mode="nearest"), 0)


def test_an_up_block_is_the_sum_of_its_two_branches() -> None:
    block, x = perturb(UpBlock(3, 5)).eval(), torch.randn(2, 3, 4, 4)
    h = F.interpolate(F.relu(block.norm1(x)), scale_factor=2)
    h = block.conv2(F.relu(block.norm2(block.conv1(h))))
    assert close(block(x), block.shortcut(F.interpolate(x, scale_factor=2)) + h, 1e-12)


@pytest.mark.parametrize(("downsample", "first"), [(True, True), (True, False), (False, False)])
def test_a_down_block_is_the_sum_of_its_two_branches(downsample: bool, first: bool) -> None:
    block, x = perturb(DownBlock(3, 5, downsample, first)), torch.randn(2, 3, 4, 4)
    h = block.conv2(F.relu(block.conv1(x if first else F.relu(x))))
    skip = block.shortcut(x)
    expected = F.avg_pool2d(h, 2) + F.avg_pool2d(skip, 2) if downsample else h + skip
    assert close(block(x), expected, 1e-12)
    assert isinstance(DownBlock(4, 4, downsample=False).shortcut, nn.Identity)


def test_conditional_normalisation_uses_the_gain_and_offset_of_each_example_s_class() -> None:
    norm, x, y = perturb(class_batch_norm(3)(4)), torch.randn(6, 4, 2, 2), torch.tensor([0, 1, 2, 2, 1, 0])
    assert isinstance(norm, ConditionalBatchNorm)
    plain = F.batch_norm(x, None, None, training=True)
    for i in range(6):
        gain, offset = 1 + norm.gain.weight[y[i]], norm.offset.weight[y[i]]
        assert close(norm.train()(x, y)[i], gain[:, None, None] * plain[i] + offset[:, None, None], 1e-12)
    fresh = class_batch_norm(3)(4)
    assert close(fresh(x, y), plain, 1e-12)


@pytest.mark.parametrize("pool", ["sum", "mean"])
def test_a_critic_with_labels_adds_the_projection_on_the_class(pool: str) -> None:
    critic = perturb(ResNetCritic((1, 8, 8), (4, 6), downsample=(True, False), pool=pool, num_classes=3))
    x, y = torch.randn(5, 1, 8, 8), torch.tensor([0, 1, 2, 1, 0])
    h = F.relu(critic.layers(x))
    phi = h.sum((2, 3)) if pool == "sum" else h.mean((2, 3))
    expected = phi @ critic.linear.weight[0] + critic.linear.bias + (phi * critic.project.weight[y]).sum(1)
    assert close(critic(x, y), expected, 1e-12)
    assert phi.shape == (5, 6)


def test_a_generator_is_a_projection_its_blocks_and_a_last_layer_squashed_into_the_range_of_images() -> None:
    g, z = perturb(ResNetGenerator(3, (8, 6, 4), (1, 8, 8), start=2)).eval(), torch.randn(5, 3)
    h = (z @ g.project.weight.mT + g.project.bias).reshape(5, 8, 2, 2)
    h = F.relu(g.last_norm(g.blocks[1](g.blocks[0](h))))
    assert close(g(z), torch.tanh(F.conv2d(h, g.to_pixels.weight, g.to_pixels.bias, padding=1)), 1e-12)


def test_extra_layers_stand_where_the_side_is_asked_for() -> None:
    class Marked(nn.Identity):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.channels = channels

    g = ResNetGenerator(3, (8, 6, 4), (1, 8, 8), start=2, attention={4: Marked})
    assert {key: layer.channels for key, layer in g.attention.items()} == {"0": 6}
    critic = ResNetCritic((1, 16, 16), (4, 6, 8), downsample=(True, True, False), attention={4: Marked})
    assert [layer.channels for layer in critic.layers if isinstance(layer, Marked)] == [6]


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2 blocks make 4 x 4 into 16 x 16, not \[8, 8\]"):
        ResNetGenerator(3, (4, 4, 4), (1, 8, 8))
    with pytest.raises(ValueError, match="2 widths for 1 blocks"):
        ResNetCritic((1, 8, 8), (4, 4), downsample=(True,))
    with pytest.raises(ValueError, match="3 halvings do not fit images of 12 x 12"):
        ResNetCritic((1, 12, 12), (4, 4, 4), downsample=(True, True, True))
    with pytest.raises(ValueError, match="pool must be one of 'sum', 'mean', got 'max'"):
        ResNetCritic((1, 8, 8), (4,), downsample=(True,), pool="max")
    with pytest.raises(ValueError, match=r"attention at sides \[5\], but features have sides \[4\]"):
        ResNetCritic((1, 8, 8), (4,), downsample=(True,), attention={5: nn.Identity})
    with pytest.raises(ValueError, match=r"critic without classes was given labels, shape \(2,\)"):
        ResNetCritic((1, 8, 8), (4,), downsample=(True,))(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"2 images need 2 labels, got shape \(1,\)"):
        ResNetCritic((1, 8, 8), (4,), downsample=(True,), num_classes=3)(torch.zeros(2, 1, 8, 8), torch.tensor([0]))


def test_a_critic_has_no_features_of_the_image_s_own_side() -> None:
    """Attention stands behind a halving: at the side of the image itself there is none to ask for."""
    with pytest.raises(ValueError, match=r"attention at sides \[8\], but features have sides \[4, 2\]"):
        ResNetCritic((1, 8, 8), (4, 4), downsample=(True, True), attention={8: nn.Identity})
