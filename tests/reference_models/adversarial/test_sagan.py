"""Attention against loops and symmetries; the networks against the count that BigGAN's table states."""

import numpy as np
import pytest
import torch

from reference_models.adversarial.sagan import SAGAN, SelfAttention
from reference_models.parts.residual_gan import plain
from tests.reference_models.adversarial.games import count, gradients
from tests.reference_models.helpers import close, numpy, perturb


def attention(channels: int = 8, reduction: int = 4, pool: bool = False) -> SelfAttention:
    layer = SelfAttention(channels, reduction, reduction, pool=pool, wrap=plain)
    return perturb(layer, 1.0)


def test_at_first_the_layer_changes_nothing_and_only_gamma_learns() -> None:
    layer, x = SelfAttention(16), torch.randn(2, 16, 4, 4)
    y = layer(x)
    assert close(y, x, 0)
    y.square().sum().backward()
    assert layer.gamma.grad.abs() > 0
    assert sum(p is not layer.gamma for p in gradients_of(layer)) == 0


def gradients_of(layer: SelfAttention) -> list[torch.nn.Parameter]:
    return [p for p in layer.parameters() if p.grad is not None and bool(p.grad.any())]


def test_each_position_s_weights_are_positive_and_sum_to_one() -> None:
    weights = attention().weights(torch.randn(3, 8, 3, 4))
    assert weights.shape == (3, 12, 12)
    assert weights.min() > 0
    assert close(weights.sum(dim=2), torch.ones(3, 12), 1e-12)


def test_the_output_is_that_of_eqs_1_to_3_position_by_position() -> None:
    layer, x = attention(), torch.randn(1, 8, 2, 3)
    f, g, h, v = (numpy(getattr(layer, name).weight)[:, :, 0, 0] for name in "fghv")
    columns = numpy(x)[0].reshape(8, 6)
    expected = np.empty_like(columns)
    for j in range(6):
        s = np.array([(f @ columns[:, i]) @ (g @ columns[:, j]) for i in range(6)])
        beta = np.exp(s) / np.exp(s).sum()
        o = v @ sum(beta[i] * (h @ columns[:, i]) for i in range(6))
        expected[:, j] = layer.gamma.item() * o + columns[:, j]
    assert close(layer(x), torch.as_tensor(expected).reshape(1, 8, 2, 3), 1e-12)


def test_permuting_positions_permutes_the_output() -> None:
    layer, x = attention(), torch.randn(2, 8, 3, 4)
    order = torch.randperm(12)
    shuffled = x.flatten(2)[:, :, order].reshape(2, 8, 3, 4)
    assert close(layer(shuffled).flatten(2), layer(x).flatten(2)[:, :, order], 1e-12)


def test_pooled_attention_reads_the_maxima_of_squares() -> None:
    layer, x = attention(pool=True), torch.randn(1, 8, 4, 4)
    weights = layer.weights(x)
    assert weights.shape == (1, 16, 4)
    f = numpy(layer.f(x))[0].reshape(2, 2, 2, 2, 2).max(axis=(2, 4)).reshape(2, 4)
    s = numpy(layer.g(x))[0].reshape(2, 16).T @ f
    expected = np.exp(s) / np.exp(s).sum(1, keepdims=True)
    assert close(weights[0], torch.as_tensor(expected), 1e-12)
    h = numpy(layer.h(x))[0].reshape(2, 2, 2, 2, 2).max(axis=(2, 4)).reshape(2, 4)
    mixed = numpy(layer.v.weight)[:, :, 0, 0] @ (h @ expected.T)
    assert close(layer(x), layer.gamma.item() * torch.as_tensor(mixed).reshape(1, 8, 4, 4) + x, 1e-12)


def test_both_networks_depend_on_the_label(generator: torch.Generator) -> None:
    gan = perturb(SAGAN(num_classes=3)).eval()
    y, z = torch.arange(3), torch.randn(1, 16).expand(3, -1)
    x = gan(z, condition=y)
    scores = gan.score(x[:1].expand(3, -1, -1, -1), condition=y)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (x[a] - x[b]).abs().max() > 1e-3
        assert (scores[a] - scores[b]).abs() > 1e-3


def test_the_paper_s_networks_have_the_81_5_million_parameters_of_biggan_s_table_1() -> None:
    """Row "SA-GAN baseline", 64 channels: 81.5 million, both networks."""
    with torch.device("meta"):
        gan = SAGAN.paper()
        x = gan.generator(torch.zeros(2, 128), torch.zeros(2, dtype=torch.long))
        assert x.shape == (2, 3, 128, 128)
        assert gan.discriminator(x, torch.zeros(2, dtype=torch.long)).shape == (2,)
    assert round(count(gan) / 1e6, 1) == 81.5


def test_keys_and_values_have_an_eighth_of_the_channels() -> None:
    layer = SelfAttention(64)
    shapes = [tuple(getattr(layer, name).weight.shape[:2]) for name in "fghv"]
    assert shapes == [(8, 64), (8, 64), (8, 64), (64, 8)]


def test_attention_stands_where_the_image_is_32_pixels_wide() -> None:
    with torch.device("meta"):
        gan = SAGAN.paper()
        seen: list[tuple[int, ...]] = []
        for part in gan.modules():
            if isinstance(part, SelfAttention):
                part.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape[1:])))
        x = gan.generator(torch.zeros(2, 128), torch.zeros(2, dtype=torch.long))
        gan.discriminator(x, torch.zeros(2, dtype=torch.long))
    assert seen == [(256, 32, 32), (128, 32, 32)]


def test_the_players_gradients_do_not_mix(generator: torch.Generator) -> None:
    gan, y = perturb(SAGAN()), torch.tensor([0, 3, 9, 3])
    gan.discriminator_loss(torch.rand(4, 1, 8, 8), condition=y, generator=generator).backward()
    assert gradients(gan.discriminator)
    assert not gradients(gan.generator)
    gan.zero_grad()
    gan.generator_loss(4, condition=y, generator=generator).backward()
    assert gradients(gan.generator)
    assert not gradients(gan.discriminator)


def test_single_precision_stays_single(generator: torch.Generator) -> None:
    x = SAGAN().float().sample(2, condition=torch.tensor([1, 2]), generator=generator)
    assert x.dtype == torch.float32
    assert x.shape == (2, 1, 8, 8)


def test_impossible_sizes_and_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="channels must be at least 8, got 4"):
        SelfAttention(4)
    gan = SAGAN(num_classes=3)
    with pytest.raises(ValueError, match="2 samples need 2 labels, got None"):
        gan.sample(2)
    with pytest.raises(ValueError, match=r"2 samples need 2 labels, got \(3,\)"):
        gan.sample(2, condition=torch.arange(3))
    with pytest.raises(ValueError, match=r"lie in 0..2, got values in \[0, 3\]"):
        gan.sample(2, condition=torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="2 images need 2 labels, got none"):
        gan.score(torch.zeros(2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"attention at sides \[5\], but features have sides \[4, 8\]"):
        SAGAN(attention_at=5)
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        SAGAN(num_classes=1)
