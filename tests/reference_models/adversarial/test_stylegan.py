"""Styles: AdaIN, noise, mixing and truncation against moments and torch; R1 against a quadratic."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from reference_models.adversarial.stylegan import Epilogue, MappingNetwork, StyleGAN, adain, mix, r1_penalty, truncate
from reference_models.parts.equalised import Stage, Widths, blur, real_at
from tests.reference_models.adversarial.games import conv, count, gradients, linear
from tests.reference_models.helpers import close, perturb, standard_errors


def grown(images: int = 10**9, **kwargs: float) -> StyleGAN:
    gan = perturb(StyleGAN.images((1, 16, 16), 6, Widths(32, 8), 10, style_dim=5, mapping_layers=2, **kwargs))
    gan.after_discriminator_step(images)
    return gan


def test_adain_gives_each_map_the_mean_and_deviation_of_its_style() -> None:
    x, y_s, y_b = 4 * torch.randn(3, 2, 8, 8) + 7, torch.randn(3, 2), torch.randn(3, 2)
    out = adain(x, y_s, y_b)
    assert close(out.mean(dim=(2, 3)), y_b, 1e-12)
    assert close(out.std(dim=(2, 3), unbiased=False), y_s.abs(), 1e-6)
    expected = y_s[:, :, None, None] * F.instance_norm(x, eps=1e-8) + y_b[:, :, None, None]
    assert close(out, expected, 1e-9)


def test_blurring_is_a_convolution_with_1_2_1_twice() -> None:
    x = torch.zeros(1, 2, 5, 5)
    x[0, 0, 2, 2], x[0, 1, 0, 0] = 16.0, 16.0
    line = torch.tensor([1.0, 2.0, 1.0])
    out = blur(x)
    assert close(out[0, 0, 1:4, 1:4], torch.outer(line, line), 1e-12)
    assert close(out[0, 1, :2, :2], torch.tensor([[4.0, 2.0], [2.0, 1.0]]), 1e-12)
    assert close(out.sum(), 16.0 + 9.0, 1e-12)


def test_the_mapping_ignores_the_length_of_z_and_learns_a_hundred_times_slower() -> None:
    f, z = perturb(MappingNetwork(6, 5, 2)), torch.randn(4, 6)
    assert close(f(3 * z), f(z), 1e-6)
    first = f.layers[0]
    h = z / z.square().mean(1, keepdim=True).sqrt()
    for layer in f.layers:
        scale = 0.01 * (2 / layer.weight.shape[1]) ** 0.5
        h = F.leaky_relu(F.linear(h, layer.weight * scale, 0.01 * layer.bias), 0.2)
    assert close(f(z), h, 1e-6)
    assert first.weight.shape == (5, 6)


def test_noise_enters_by_a_strength_for_each_map_before_the_rectifier() -> None:
    layer = perturb(Epilogue(3, 5), 0.5)
    x, w, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 5), torch.randn(2, 1, 4, 4)
    style = F.linear(w, layer.style.weight / 5**0.5, layer.style.bias)
    inside = x + layer.noise_strength.reshape(1, 3, 1, 1) * noise + layer.bias.reshape(1, 3, 1, 1)
    expected = adain(F.leaky_relu(inside, 0.2), style[:, :3], style[:, 3:])
    assert close(layer(x, w, noise), expected, 1e-12)


def test_a_style_starts_as_scale_one_and_offset_zero_and_noise_as_nothing() -> None:
    layer = Epilogue(3, 5)
    y = layer.style(torch.zeros(1, 5))
    assert close(y[0], torch.tensor([1.0, 1, 1, 0, 0, 0]), 1e-15)
    assert not layer.noise_strength.any()


@pytest.mark.parametrize(("images", "layers"), [(0, 4), (10**9, 6)])
def test_every_layer_s_style_and_noise_reach_the_image(images: int, layers: int) -> None:
    gan = grown(images).eval()
    w, noises = torch.randn(1, layers, 5), [*gan.noises(1)]
    assert gan.layers == layers == len(noises)
    x = gan.synthesise(w, noises)
    assert x.shape == (1, 1, 8 << (layers == 6), 8 << (layers == 6))
    for layer in range(layers):
        moved = w.clone()
        moved[:, layer] += 0.5
        assert (gan.synthesise(moved, noises) - x).abs().max() > 1e-4
        jittered = [torch.randn_like(noise) if index == layer else noise for index, noise in enumerate(noises)]
        assert (gan.synthesise(w, jittered) - x).abs().max() > 1e-4


def test_the_synthesis_network_computes_figure_1_layer_by_layer() -> None:
    gan = grown(0)
    g, w, noises = gan.generator.synthesis, torch.randn(2, 4, 5), gan.noises(2)
    h = g.epilogues[0](g.constant.expand(2, -1, -1, -1), w[:, 0], noises[0])
    h = g.epilogues[1](g.convs[0](h), w[:, 1], noises[1])
    h = blur(g.convs[1](F.interpolate(h, scale_factor=2)))
    h = g.epilogues[2](h, w[:, 2], noises[2])
    h = g.epilogues[3](g.convs[2](h), w[:, 3], noises[3])
    assert close(gan.synthesise(w, noises), g.to_rgb[1](h), 1e-12)


def test_mixing_takes_the_second_style_from_the_crossover_on() -> None:
    w_1, w_2 = torch.zeros(3, 4, 2), torch.ones(3, 4, 2)
    mixed = mix(w_1, w_2, torch.tensor([1, 3, 4]))[..., 0]
    assert close(mixed, torch.tensor([[0.0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]), 0)


@pytest.mark.parametrize("share", [0.0, 0.9, 1.0])
def test_training_mixes_the_share_of_images_it_should_at_every_layer(share: float, generator: torch.Generator) -> None:
    """Counts of 4000 images within 5 standard errors: false failures 6e-7 a count."""
    gan = grown(mixing=share)
    w = torch.full((4000, 6, 5), 1e6)
    mixed = gan._mixed(w, generator)
    kept = (mixed[..., 0] == 1e6).sum(dim=1)
    drawn = torch.tensor([float((kept == layer).sum()) for layer in range(7)])
    expected = torch.tensor([0.0] + [share / 5] * 5 + [1 - share])
    error = (expected * (1 - expected) / 4000).sqrt()
    assert bool(((drawn / 4000 - expected).abs() <= 5 * error + 1e-12).all())


def test_truncation_scales_the_spread_around_the_mean_in_the_coarse_layers() -> None:
    w, mean = torch.randn(2000, 4, 3), torch.tensor([1.0, -2.0, 0.5])
    assert close(truncate(w, mean, 1.0), w, 1e-12)
    assert close(truncate(w, mean, 0.0), mean.expand(2000, 4, 3), 1e-12)
    half = truncate(w, mean, 0.5, cutoff=2)
    assert close(half[:, :2].var(0), 0.25 * w[:, :2].var(0), 1e-12)
    assert close(half[:, :2].mean(0), 0.5 * (w[:, :2].mean(0) + mean), 1e-12)
    assert close(half[:, 2:], w[:, 2:], 0)


def test_fully_truncated_samples_differ_by_their_noise_alone(generator: torch.Generator) -> None:
    gan = grown().eval()
    gan.generator.mean_style.copy_(torch.randn(5))
    for layer in gan.generator.synthesis.epilogues:
        layer.noise_strength.data.zero_()
    x = gan.sample(4, psi=0.0, generator=generator)
    w = gan.generator.mean_style.expand(1, 6, 5)
    assert close(x, gan.synthesise(w, gan.noises(1)).expand(4, 1, 16, 16), 1e-10)
    assert (gan.sample(2, psi=0.0, cutoff=2, generator=generator).diff(dim=0)).abs().max() > 1e-4


def test_the_mean_style_follows_training_and_only_training(generator: torch.Generator) -> None:
    gan, z = grown(), torch.randn(8, 6)
    gan.generator.mean_style.copy_(torch.ones(5))
    w = gan.generator.mapping(z)
    gan(z, generator=generator)
    expected = 0.995 * torch.ones(5) + 0.005 * w.mean(0)
    assert close(gan.generator.mean_style, expected, 1e-12)
    gan.sample(8, generator=generator)
    assert close(gan.generator.mean_style, expected, 0)


def test_noise_images_are_standard_normal_and_drawn_anew(generator: torch.Generator) -> None:
    """Mean and variance within 5 standard errors: false failures 6e-7 each."""
    gan = grown()
    noises = gan.noises(500, generator=generator)
    assert [noise.shape[1:] for noise in noises] == [(1, s, s) for s in (4, 4, 8, 8, 16, 16)]
    draws = torch.cat([noise.flatten() for noise in noises])
    assert standard_errors(draws, 0.0) < 5
    assert standard_errors(draws**2, 1.0) < 5
    gan.eval()
    z = torch.randn(2, 6)
    assert (gan(z, generator=generator) - gan(z, generator=generator)).abs().max() > 1e-6


def test_r1_is_the_squared_slope_on_data() -> None:
    """For D = x'Ax/2 the slope is Ax; its derivative in a scale s of D is 2 s |Ax|^2."""
    a, x, s = torch.eye(3) + 0.5, torch.randn(5, 3), torch.tensor(1.3, requires_grad=True)
    penalty = r1_penalty(lambda y: 0.5 * s * ((y @ a) * y).sum(1), x)
    square = (x @ a).square().sum(1).mean()
    assert close(penalty, 1.69 * square, 1e-12)
    (slope,) = torch.autograd.grad(penalty, s)
    assert close(slope, 2.6 * square, 1e-12)
    images = torch.randn(2, 1, 2, 2)
    assert close(r1_penalty(lambda y: y.square().sum((1, 2, 3)), images), 4 * images.square().sum() / 2, 1e-12)


@pytest.mark.parametrize("images", [0, 15, 10**9])
def test_the_loss_is_cross_entropy_and_half_gamma_r1(images: int, generator: torch.Generator) -> None:
    gan, x = grown(images, gamma=3.0).eval(), torch.randn(3, 1, 16, 16)
    state = generator.get_state()
    loss = gan.discriminator_loss(x, generator=generator)
    generator.set_state(state)
    fake = gan(gan.noise(3, generator=generator), generator=generator).detach()
    real = real_at(x, gan.stage, 3)
    expected = F.softplus(gan.score(fake)).mean() + F.softplus(-gan.score(real)).mean()
    assert close(loss, expected + 1.5 * r1_penalty(gan.score, real), 1e-9)
    loss.backward()
    assert gradients(gan.discriminator)
    assert not gradients(gan.generator)
    gan.zero_grad()
    gan.generator_loss(2, generator=generator).backward()
    assert not gradients(gan.discriminator)
    assert len(gradients(gan.generator.mapping)) == len(list(gan.generator.mapping.parameters()))


def test_growth_begins_at_8_pixels() -> None:
    assert grown(0).stage == Stage(1)
    assert grown(15).stage == Stage(2, 0.5)


def test_the_paper_s_networks_have_the_parameters_of_figure_1() -> None:
    """Generator 26.2 million, as figure 1's caption says; all layers by hand, with the pixel layers of all levels."""
    with torch.device("meta"):
        gan = StyleGAN.paper()
    assert (gan.gamma, gan.mixing, len(gan.generator.mapping.layers)) == (10, 0.9, 8)
    assert gan.discriminator.smooth is blur
    assert round(count(gan.generator) / 1e6, 1) == 26.2
    sizes = [512, 512, 512, 512, 256, 128, 64, 32, 16]
    layers = [size for size in sizes for _ in range(2)]
    convs = sum(conv(i, o, 3, False) for i, o in pairwise(layers))
    epilogues = sum(2 * size + linear(512, 2 * size) for size in layers)
    synthesis = 512 * 16 + convs + epilogues + sum(conv(size, 3, 1) for size in sizes)
    assert count(gan.generator) == 8 * linear(512, 512) + synthesis
    assert round(count(gan.discriminator) / 1e6, 1) == 23.1


def test_single_precision_stays_single(generator: torch.Generator) -> None:
    gan = grown(15).float()
    assert gan.sample(2, psi=0.7, cutoff=2, generator=generator).dtype == torch.float32
    assert gan.discriminator_loss(torch.randn(4, 1, 16, 16).float(), generator=generator).dtype == torch.float32


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="side of an image must be at least 8, got 4"):
        StyleGAN.images((1, 4, 4))
    with pytest.raises(ValueError, match=r"mixing must lie in \[0, 1\], got 1\.5"):
        grown(mixing=1.5)
    with pytest.raises(ValueError, match="gamma must be at least 0, got -1"):
        grown(gamma=-1.0)
    with pytest.raises(ValueError, match=r"no labels, got a condition of shape \(2,\)"):
        grown().sample(2, condition=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        MappingNetwork(2, 2, 0)
