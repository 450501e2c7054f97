"""DCGAN's networks against the paper's rules and figure."""

import pytest
import torch
from torch import nn

from reference_models.adversarial.dcgan import DCGAN, DCGANDiscriminator, DCGANGenerator
from tests.reference_models.adversarial.games import conv, count, gradients, linear
from tests.reference_models.helpers import close, perturb


def paper() -> DCGAN:
    with torch.device("meta"):
        return DCGAN.paper()


def of_type(module: nn.Module, *types: type[nn.Module]) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, types)]


def test_the_generator_grows_from_4_to_64_through_the_channels_of_figure_1() -> None:
    seen: list[tuple[int, ...]] = []
    generator = paper().generator
    for part in of_type(generator, nn.Unflatten, nn.ConvTranspose2d):
        part.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    generator(torch.zeros(2, 100, device="meta"))
    assert seen == [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]


def test_normalisation_is_everywhere_but_at_the_output_of_one_and_the_input_of_the_other() -> None:
    gan = paper()
    g, d = list(gan.generator.net), list(gan.discriminator.net)
    assert isinstance(g[-1], nn.Tanh)
    assert isinstance(g[-2], nn.ConvTranspose2d)
    assert all(isinstance(g[i + 1], nn.BatchNorm2d) for i in range(1, len(g) - 2, 3))
    assert [type(part) for part in d[:3]] == [nn.Conv2d, nn.LeakyReLU, nn.Conv2d]
    assert [part.num_features for part in of_type(gan.discriminator, nn.BatchNorm2d)] == [128, 256, 512]
    assert all(part.negative_slope == 0.2 for part in of_type(gan.discriminator, nn.LeakyReLU))


def test_no_pooling_and_every_convolution_has_stride_2() -> None:
    gan = paper()
    assert not of_type(gan, nn.AvgPool2d, nn.MaxPool2d, nn.Upsample)
    strides = {part.stride for part in of_type(gan, nn.Conv2d, nn.ConvTranspose2d)}
    assert strides == {(2, 2)}


def test_the_paper_s_networks_have_the_parameters_counted_by_hand() -> None:
    gan = paper()
    convolutions = conv(1024, 512, 5, False) + conv(512, 256, 5, False) + conv(256, 128, 5, False) + conv(128, 3, 5)
    assert count(gan.generator) == linear(100, 16384, False) + convolutions + 2 * (1024 + 512 + 256 + 128)
    convolutions = conv(3, 64, 5) + conv(64, 128, 5, False) + conv(128, 256, 5, False) + conv(256, 512, 5, False)
    assert count(gan.discriminator) == convolutions + 2 * (128 + 256 + 512) + linear(512 * 16, 1)


def test_weights_start_normal_with_deviation_0_02() -> None:
    """Mean and variance of some 50000 weights within 5 standard errors: false failures 1e-6."""
    gan = DCGAN((1, 16, 16), channels=32, start=2)
    parts = of_type(gan, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    w = torch.cat([part.weight.detach().flatten() for part in parts])
    assert abs(float(w.mean())) < 5 * 0.02 / len(w) ** 0.5
    assert abs(float(w.square().mean()) / 0.02**2 - 1) < 5 * (2 / len(w)) ** 0.5
    gains = torch.cat([part.weight.detach() for part in of_type(gan, nn.BatchNorm2d)])
    assert abs(float(gains.mean()) - 1) < 5 * 0.02 / len(gains) ** 0.5
    assert all(not part.bias.any() for part in parts if part.bias is not None)


def test_noise_is_uniform_and_images_lie_in_the_range_of_tanh(generator: torch.Generator) -> None:
    gan = perturb(DCGAN())
    assert gan.noise(500, generator=generator).abs().max() <= 1
    x = gan.sample(64, generator=generator)
    assert x.shape == (64, 1, 8, 8)
    assert x.abs().max() <= 1


def test_in_evaluation_an_example_is_judged_on_its_own(generator: torch.Generator) -> None:
    gan = perturb(DCGAN(channels=8)).eval()
    x, z = torch.randn(5, 1, 8, 8), torch.randn(5, 16)
    assert close(torch.stack([gan.score(one) for one in x]), gan.score(x), 1e-10)
    assert close(torch.cat([gan(one[None]) for one in z]), gan(z), 1e-10)


def test_every_parameter_learns(generator: torch.Generator) -> None:
    gan = perturb(DCGAN(channels=8))
    gan.discriminator_loss(torch.rand(8, 1, 8, 8) - 0.5, generator=generator).backward()
    assert len(gradients(gan.discriminator)) == len(list(gan.discriminator.parameters()))
    gan.generator_loss(8, generator=generator).backward()
    assert len(gradients(gan.generator)) == len(list(gan.generator.parameters()))


def test_single_precision_stays_single(generator: torch.Generator) -> None:
    assert DCGAN(channels=4).float().sample(2, generator=generator).dtype == torch.float32


def test_sides_that_no_doubling_reaches_are_refused() -> None:
    for shape in ((1, 12, 12), (1, 4, 4), (1, 8, 16), (1, 2, 2)):
        with pytest.raises(ValueError, match=rf"side 4 \* 2\^k, k >= 1, got {shape[1]} x {shape[2]}"):
            DCGANGenerator(8, shape)
        with pytest.raises(ValueError, match="images must be square"):
            DCGANDiscriminator(shape)
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        DCGANGenerator(8, (1, 8, 8), channels=0)
    with pytest.raises(ValueError, match="start must be at least 1, got 0"):
        DCGANDiscriminator((1, 8, 8), start=0)
