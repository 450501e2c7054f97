"""Growing: fades at both ends and between, scaled layers, normalisation, the schedule, the counts of table 2."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reference_models.adversarial.progressive_gan import (
    ProgressiveDiscriminator,
    ProgressiveGAN,
    ProgressiveGenerator,
    stage_after,
)
from reference_models.adversarial.wgan_gp import gradient_penalty
from reference_models.parts.equalised import (
    EqualisedConv2d,
    EqualisedConv4x4,
    EqualisedLinear,
    Stage,
    Widths,
    blur,
    halve,
    levels_of,
    minibatch_deviation,
    pixel_norm,
    real_at,
)
from reference_models.parts.residual_gan import double
from tests.reference_models.adversarial.games import conv, count, gradients, linear
from tests.reference_models.helpers import close, numpy, perturb

SMALL = Widths(32, 8)


def pair() -> tuple[ProgressiveGenerator, ProgressiveDiscriminator]:
    return perturb(ProgressiveGenerator(16, 6, SMALL, 2)), perturb(ProgressiveDiscriminator(16, SMALL, 2))


@pytest.mark.parametrize("level", [1, 2])
def test_a_generator_s_new_level_fades_from_the_doubled_old_image_to_its_own(level: int) -> None:
    g, z = pair()[0], torch.randn(3, 6)
    old, new = double(g(z, Stage(level - 1))), g(z, Stage(level))
    assert new.shape == (3, 2, 4 << level, 4 << level)
    assert (old - new).abs().max() > 0.1
    assert close(g(z, Stage(level, 0.0)), old, 1e-12)
    assert close(g(z, Stage(level, 1.0)), new, 1e-12)
    assert close(g(z, Stage(level, 0.3)), 0.7 * old + 0.3 * new, 1e-12)


@pytest.mark.parametrize("level", [1, 2])
def test_a_critic_s_new_level_fades_from_the_halved_image_s_score_to_its_own(level: int) -> None:
    d, x = pair()[1], torch.randn(3, 2, 4 << level, 4 << level)
    assert close(d(x, Stage(level, 0.0)), d(halve(x), Stage(level - 1)), 1e-12)
    features: list[torch.Tensor] = []
    hook = d.last_conv if level == 1 else d.stay[level - 2]
    hook.register_forward_hook(lambda _, inputs, __: features.append(inputs[0][:, : SMALL(level - 1)]))
    for alpha in (0.0, 1.0, 0.3):
        d(x, Stage(level, alpha))
    assert close(features[2], 0.7 * features[0] + 0.3 * features[1], 1e-12)


def test_the_generator_computes_table_2_layer_by_layer() -> None:
    g, z = pair()[0], torch.randn(3, 6)

    def norm(a: torch.Tensor) -> torch.Tensor:
        return a / (a.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()

    h = norm(F.leaky_relu(g.first(norm(z)), 0.2))
    h = norm(F.leaky_relu(g.stay[0](h), 0.2))
    h = norm(F.leaky_relu(g.enter[0](F.interpolate(h, scale_factor=2)), 0.2))
    h = norm(F.leaky_relu(g.stay[1](h), 0.2))
    assert close(g(z, Stage(1)), g.to_rgb[1](h), 1e-12)


@pytest.mark.parametrize("smooth", [None, blur])
def test_the_critic_computes_table_2_layer_by_layer_and_smooths_what_it_halves(
    smooth: Callable[[torch.Tensor], torch.Tensor] | None,
) -> None:
    d, x = perturb(ProgressiveDiscriminator(8, SMALL, 2, smooth=smooth)), torch.randn(3, 2, 8, 8)
    h = F.leaky_relu(d.stay[0](F.leaky_relu(d.from_rgb[1](x), 0.2)), 0.2)
    h = h if smooth is None else smooth(h)
    h = F.avg_pool2d(F.leaky_relu(d.leave[0](h), 0.2), 2)
    deviation = h.std(dim=0, unbiased=False).mean()
    h = torch.cat([h, deviation.expand(3, 1, 4, 4)], dim=1)
    h = F.leaky_relu(d.hidden(F.leaky_relu(d.last_conv(h), 0.2).flatten(1)), 0.2)
    assert close(d(x, Stage(1)), d.score(h).squeeze(1), 1e-5)


def test_data_fade_with_the_networks() -> None:
    x = torch.randn(2, 1, 16, 16)
    quarter = F.avg_pool2d(x, 4)
    assert close(real_at(x, Stage(0), 3), quarter, 1e-12)
    half = F.avg_pool2d(x, 2)
    assert close(real_at(x, Stage(1), 3), half, 1e-12)
    assert close(real_at(x, Stage(1, 0.25), 3), 0.75 * F.interpolate(quarter, scale_factor=2) + 0.25 * half, 1e-12)
    assert close(real_at(x, Stage(2), 3), x, 0)


@pytest.mark.parametrize(
    ("images", "stage"),
    [
        (0, Stage(0)),
        (99, Stage(0)),
        (100, Stage(1, 0.0)),
        (150, Stage(1, 0.5)),
        (199, Stage(1, 0.99)),
        (200, Stage(1)),
        (299, Stage(1)),
        (325, Stage(2, 0.25)),
        (400, Stage(2)),
        (10_000, Stage(2)),
    ],
)
def test_each_level_fades_for_a_phase_and_is_stable_for_another(images: int, stage: Stage) -> None:
    assert stage_after(images, 100, levels=3) == stage


def test_growth_can_begin_at_a_later_level() -> None:
    assert [stage_after(n, 10, 3, first=1) for n in (0, 15, 20, 30)] == [Stage(1), Stage(2, 0.5), Stage(2), Stage(2)]


def test_layers_are_scaled_by_he_s_constant_when_used() -> None:
    lin, con = perturb(EqualisedLinear(5, 3)), perturb(EqualisedConv2d(4, 3))
    x, image = torch.randn(2, 5), torch.randn(2, 4, 5, 5)
    assert close(lin(x), F.linear(x, lin.weight * math.sqrt(2 / 5), lin.bias), 1e-12)
    assert close(con(image), F.conv2d(image, con.weight * math.sqrt(2 / 36), con.bias, padding=1), 1e-12)
    slow = perturb(EqualisedLinear(5, 3, lr_multiplier=0.01))
    assert close(slow(x), F.linear(x, slow.weight * 0.01 * math.sqrt(2 / 5), 0.01 * slow.bias), 1e-12)


def test_weights_start_standard_normal_so_that_rectified_layers_keep_the_second_moment() -> None:
    """Variance of 90000 weights and of outputs within 5 standard errors; false failures 1e-6."""
    lin = EqualisedLinear(300, 300)
    w = lin.weight.detach()
    assert abs(float(w.square().mean()) - 1) < 5 * (2 / w.numel()) ** 0.5
    first = EqualisedConv4x4(300, 50)
    out = first(torch.randn(200, 300)).detach()
    assert abs(float(out.square().mean()) / (2 / 16) - 1) < 0.1  # gain sqrt(2) / 4, the authors' choice
    assert not lin.bias.any()
    slow = EqualisedLinear(300, 300, lr_multiplier=0.01)  # held a hundred times larger, used as the others
    assert abs(float((0.01 * slow.weight.detach()).square().mean()) - 1) < 5 * (2 / w.numel()) ** 0.5


def test_the_first_layer_is_a_linear_map_with_one_bias_a_channel() -> None:
    layer, z = perturb(EqualisedConv4x4(5, 3)), torch.randn(2, 5)
    weight = layer.weight.reshape(48, 5) * math.sqrt(2) / 4 / math.sqrt(5)
    expected = (z @ weight.mT).reshape(2, 3, 4, 4) + layer.bias[:, None, None]
    assert close(layer(z), expected, 1e-12)


def test_pixels_are_normalised_over_channels() -> None:
    a = 3 * torch.randn(2, 5, 4, 4) + 1
    b = pixel_norm(a)
    assert close(b.square().mean(dim=1), torch.ones(2, 4, 4), 1e-6)
    expected = numpy(a) / np.sqrt((numpy(a) ** 2).mean(axis=1, keepdims=True) + 1e-8)
    assert close(b, torch.as_tensor(expected), 1e-12)
    assert close(pixel_norm(torch.zeros(1, 3)), torch.zeros(1, 3), 0)


def test_the_deviation_over_the_batch_is_one_more_channel() -> None:
    x = torch.randn(5, 3, 2, 2)
    out = minibatch_deviation(x)
    assert out.shape == (5, 4, 2, 2)
    assert close(out[:, :3], x, 0)
    assert close(out[:, 3], torch.full((5, 2, 2), numpy(x).std(axis=0).mean()), 1e-6)
    alike = minibatch_deviation(x[:1].expand(4, -1, -1, -1))
    assert close(alike[:, 3], torch.zeros(4, 2, 2), 2e-4)


def test_a_collapsed_batch_is_scored_differently_from_a_varied_one() -> None:
    d, x = pair()[1], torch.randn(1, 2, 16, 16)
    varied = torch.cat([x, torch.randn(3, 2, 16, 16)])
    alone = d(x.expand(4, -1, -1, -1), Stage(2))[0]
    assert (alone - d(varied, Stage(2))[0]).abs() > 1e-3


def grown(images: int) -> ProgressiveGAN:
    gan = perturb(ProgressiveGAN.images((1, 8, 8), 4, SMALL, images_per_phase=10))
    gan.after_discriminator_step(images)
    return gan


def test_counting_real_images_moves_the_stage_and_survives_a_checkpoint(generator: torch.Generator) -> None:
    gan = grown(7)
    assert gan.stage == Stage(0)
    assert gan.sample(2, generator=generator).shape == (2, 1, 4, 4)
    gan.after_discriminator_step(8)
    assert gan.stage == Stage(1, 0.5)
    assert gan.sample(2, generator=generator).shape == (2, 1, 8, 8)
    other = ProgressiveGAN.images((1, 8, 8), 4, SMALL, images_per_phase=10)
    other.load_state_dict(gan.state_dict())
    assert other.stage == gan.stage


@pytest.mark.parametrize("images", [0, 15, 30])
def test_the_critic_s_loss_is_wgan_gp_s_with_a_drift_term(images: int, generator: torch.Generator) -> None:
    gan, x = grown(images), torch.randn(6, 1, 8, 8)
    gan.drift = 0.5
    state = generator.get_state()
    loss = gan.discriminator_loss(x, generator=generator)
    generator.set_state(state)
    real = real_at(x, gan.stage, 2)
    fake = gan(gan.noise(6, generator=generator)).detach()
    penalty = gradient_penalty(gan.score, real, fake, generator=generator)
    scores = gan.score(real)
    expected = gan.score(fake).mean() - scores.mean() + 10 * penalty + 0.5 * scores.square().mean()
    assert close(loss, expected, 1e-10)
    loss.backward()
    assert gradients(gan.discriminator)
    assert not gradients(gan.generator)
    gan.zero_grad()
    gan.generator_loss(4, generator=generator).backward()
    assert gradients(gan.generator)
    assert not gradients(gan.discriminator)


def test_the_paper_s_networks_have_the_23_1_million_parameters_of_table_2() -> None:
    """Both networks 23.1 million, and every layer of the table by hand, with the pixel layers of all levels."""
    with torch.device("meta"):
        gan = ProgressiveGAN.paper()
        gan.images_seen += 10**9
    assert (gan.penalty, gan.drift, gan.images_per_phase) == (10, 1e-3, 800_000)
    assert round(count(gan.generator) / 1e6, 1) == round(count(gan.discriminator) / 1e6, 1) == 23.1
    sizes = [512, 512, 512, 512, 256, 128, 64, 32, 16]
    pairs = list(pairwise(sizes))
    g = linear(512, 512 * 16, False) + 512 + conv(512, 512, 3) + sum(conv(i, o, 3) + conv(o, o, 3) for i, o in pairs)
    assert count(gan.generator) == g + sum(conv(size, 3, 1) for size in sizes)
    d = sum(conv(o, o, 3) + conv(o, i, 3) for i, o in pairs) + conv(513, 512, 3) + linear(512 * 16, 512)
    assert count(gan.discriminator) == d + linear(512, 1) + sum(conv(3, size, 1) for size in sizes)


def test_the_paper_s_networks_work_at_1024_pixels() -> None:
    with torch.device("meta"):
        gan = ProgressiveGAN.paper()
        x = gan.generator(torch.zeros(2, 512), Stage(8))
        assert x.shape == (2, 3, 1024, 1024)
        assert gan.discriminator(x, Stage(8)).shape == (2,)


def test_single_precision_stays_single(generator: torch.Generator) -> None:
    gan = grown(15).float()
    assert gan.sample(2, generator=generator).dtype == torch.float32
    assert gan.discriminator_loss(torch.randn(4, 1, 8, 8).float(), generator=generator).dtype == torch.float32


def test_impossible_sizes_are_refused() -> None:
    for resolution in (2, 12, 0):
        with pytest.raises(ValueError, match=f"power of two from 4 on, got {resolution}"):
            levels_of(resolution)
    with pytest.raises(ValueError, match=r"shape \(N, 1, 4, 4\), got \(3, 1, 8, 8\)"):
        grown(0).score(torch.zeros(3, 1, 8, 8))
    with pytest.raises(ValueError, match="images_per_phase must be at least 1, got 0"):
        ProgressiveGAN.images(images_per_phase=0)
    with pytest.raises(ValueError, match="square, got 8 x 16"):
        ProgressiveGAN.images((1, 8, 16))
    with pytest.raises(ValueError, match=r"no labels, got a condition of shape \(2,\)"):
        grown(0).sample(2, condition=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="drift must be at least 0, got -1"):
        ProgressiveGAN(*pair(), latent_dim=6, event_shape=(2, 16, 16), drift=-1.0)
