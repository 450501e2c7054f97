"""PixelCNN++: enumeration, what sees what through all resolutions, the sampler's law, the size of the real one."""

import pytest
import torch

from reference_models.autoregressive.pixelcnn_pp import (
    Above,
    AboveLeft,
    GatedResidual,
    PixelCNNPlusPlus,
    concat_elu,
    shifted,
    upsampler,
)
from reference_models.exact import departs_from_law, every_state
from reference_models.parts.pixel_mixture import PixelMixture
from tests.reference_models.autoregressive.laws import every_parameter_learns, parameters, raster_past, what_sees_what
from tests.reference_models.helpers import close, perturb


def small(shape=(1, 2, 4), levels=2, **sizes) -> PixelCNNPlusPlus:
    return PixelCNNPlusPlus(shape, levels, **{"features": 3, "mixtures": 2, **sizes})


@pytest.mark.parametrize(
    ("shape", "levels", "sizes"),
    [((1, 2, 4), 2, {}), ((3, 2, 2), 2, {}), ((1, 1, 3), 4, {"resolutions": 1})],
)
def test_probabilities_of_all_images_sum_to_one(shape, levels, sizes) -> None:
    model = perturb(small(shape, levels, **sizes), 0.3)
    x = every_state(shape, levels)
    assert close(model.log_prob(x).exp().sum(), 1.0)


def whole_pixels_past(C: int, H: int, W: int) -> torch.Tensor:
    """A pixel sees every channel of the pixels before it: (1, H, W, C, H, W)."""
    return raster_past((1, H, W)).expand(1, H, W, C, H, W)


@pytest.mark.parametrize(("resolutions", "blocks", "shape"), [(1, 2, (1, 3, 5)), (2, 2, (2, 4, 6)), (3, 1, (1, 4, 8))])
def test_a_pixel_depends_on_no_pixel_from_itself_on(resolutions, blocks, shape) -> None:
    """Odd and even places alike, through strides and upsampling."""
    model = perturb(small(shape, 3, resolutions=resolutions, blocks=blocks), 0.3)
    seen = seen_by(model, shape)
    assert not bool((seen & ~whole_pixels_past(*shape)).any())


def seen_by(model: PixelCNNPlusPlus, shape: tuple[int, int, int]) -> torch.Tensor:
    x = torch.rand(4, *shape).requires_grad_()
    out = model.pixel_parameters(x)
    out = (out * torch.randn(out.shape[-1])).sum(dim=(0, -1))  # (H, W)
    _, H, W = shape
    seen = torch.zeros(1, H, W, *shape, dtype=torch.bool)
    for i in range(H):
        for j in range(W):
            (gradient,) = torch.autograd.grad(out[i, j], x, retain_graph=True)
            seen[0, i, j] = (gradient != 0).any(0)
    return seen


def test_with_two_resolutions_a_pixel_sees_its_whole_past() -> None:
    """No blind spot, every channel of every earlier pixel."""
    shape = (2, 4, 4)
    model = perturb(small(shape, 3, resolutions=2, blocks=2), 0.3)
    assert torch.equal(seen_by(model, shape), whole_pixels_past(*shape))


def test_the_streams_see_what_their_names_say() -> None:
    """Above: rows i−1, i and columns j−1..j+1; AboveLeft: rows i−1, i and columns j−1, j."""
    for stream, columns in ((Above, [1, 2, 3]), (AboveLeft, [1, 2])):
        layer = stream(1, 1)
        seen = what_sees_what(layer, lambda x, layer=layer: layer(x).unsqueeze(1), (1, 4, 5))[0, 2, 2, 0]
        assert seen.nonzero().tolist() == [[i, j] for i in (1, 2) for j in columns]


def test_halving_reads_up_to_the_even_pixel_and_doubling_writes_from_it_on() -> None:
    """Down and up again: (i, j) sees nothing below row i, and in the ul stream nothing to the right of column j."""
    for stream in (Above, AboveLeft):
        there_and_back = torch.nn.Sequential(stream(1, 1, stride=2), upsampler(1, stream))
        seen = what_sees_what(there_and_back, lambda x, f=there_and_back: f(x).unsqueeze(1), (1, 4, 6))[0, :, :, 0]
        rows, columns = torch.meshgrid(torch.arange(4), torch.arange(6), indexing="ij")
        below = rows > rows[:, :, None, None]
        right = columns > columns[:, :, None, None]
        assert not bool((seen & below).any())
        assert bool((seen & right).any()) == (stream is Above)
        assert there_and_back(torch.rand(2, 1, 4, 6)).shape == (2, 1, 4, 6)


def test_a_doubled_map_stands_where_it_stood() -> None:
    """Both columns 2c and 2c + 1 of the u stream are written from low pixel c by the centre and the right tap."""
    up = upsampler(1, Above)
    with torch.no_grad():
        up.bias.zero_()
    low = torch.zeros(1, 1, 2, 3)
    low[0, 0, 1, 1] = 1
    written = up(low)[0, 0].nonzero().tolist()
    assert written == [[i, j] for i in (2, 3) for j in (1, 2, 3)]


def test_a_block_is_a_gate_on_top_of_its_input() -> None:
    """x + a σ(b) with the convolutions applied by hand; the short-cut enters through its 1×1 before the second."""
    block = perturb(GatedResidual(AboveLeft, 3, 2, dropout=0.0))
    x, shortcut = torch.randn(1, 3, 4, 4), torch.randn(1, 2, 4, 4)

    def elus(v: torch.Tensor) -> torch.Tensor:
        pair = torch.cat([v, -v], dim=1)
        return torch.where(pair > 0, pair, pair.exp() - 1)

    h = block.first(elus(x)) + block.shortcut(elus(shortcut))
    a, b = block.second(elus(h)).split(3, dim=1)
    assert close(block(x, shortcut), x + a * b.sigmoid(), 1e-12)
    assert close(concat_elu(x), elus(x), 1e-12)


def test_shifting_moves_a_map_down_and_to_the_right() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
    assert shifted(x, down=1)[0, 0].tolist() == [[0, 0], [1, 2]]
    assert shifted(x, right=1)[0, 0].tolist() == [[0, 1], [0, 3]]


def test_the_likelihood_is_the_sum_of_the_pixels_mixtures() -> None:
    model = perturb(small((3, 2, 2), 4), 0.3)
    k = torch.randint(0, 4, (5, 3, 2, 2))
    pixels = model.pixel_parameters(k / 3)
    expected = [
        sum(PixelMixture(pixels[n, i, j], 3, 4).log_prob(k[n, :, i, j]) for i in range(2) for j in range(2))
        for n in range(5)
    ]
    assert close(model.log_prob(k), torch.stack(expected), 1e-12)
    assert close(model.log_prob(k / 3), torch.stack(expected), 1e-12)


def test_samples_follow_the_law(generator: torch.Generator) -> None:
    """20000 images of 2×2 pixels of two levels; fails by chance once in a million seeds."""
    model = perturb(small((1, 2, 2), 2, features=4, mixtures=1), 0.9)
    log_p = model.log_prob(every_state((1, 2, 2)))
    samples = model.sample(20_000, generator=generator)
    assert not departs_from_law(samples, log_p)
    assert departs_from_law(samples.mT, log_p)


def test_samples_of_colours_follow_the_law(generator: torch.Generator) -> None:
    """20000 images of 1×2 pixels of three channels; fails by chance once in a million seeds."""
    model = perturb(small((3, 1, 2), 2, features=4, resolutions=1), 0.7)
    log_p = model.log_prob(every_state((3, 1, 2)))
    samples = model.sample(20_000, generator=generator)
    assert not departs_from_law(samples, log_p)
    assert departs_from_law(samples.flip(1), log_p)


def test_dropout_acts_in_training_and_not_in_sampling() -> None:
    model = perturb(small((1, 4, 4), 3, dropout=0.5, features=8))
    x = torch.randint(0, 3, (2, 1, 4, 4))
    assert (model.log_prob(x) - model.log_prob(x)).abs().max() > 1e-6

    def draw() -> torch.Tensor:
        return model.sample(3, generator=torch.Generator(model.out.bias.device).manual_seed(1))

    assert torch.equal(draw(), draw())
    assert model.training
    model.eval()
    assert close(model.log_prob(x), model.log_prob(x), 0.0)


def test_batch_shapes_and_precisions_agree() -> None:
    model = perturb(small((1, 2, 4), 2))
    x = every_state((1, 2, 4))[::4]
    assert close(torch.stack([model.log_prob(one) for one in x]), model.log_prob(x), 1e-12)
    single = model.float().log_prob(x.float())
    assert single.dtype == torch.float32
    assert close(single.double(), model.double().log_prob(x), 1e-5)
    assert model.float().sample(2).dtype == torch.float32


def test_every_parameter_learns() -> None:
    model = perturb(small((3, 4, 4), 5, resolutions=3))
    x = torch.randint(0, 5, (16, 3, 4, 4))
    assert every_parameter_learns(model, -model.log_prob(x).mean())


def test_the_papers_size() -> None:
    """160 maps, 15 blocks down, 5 + 6 + 6 up, in two streams of 2·3 and 2·2 taps; every layer weight-normalised."""
    with torch.device("meta"):
        model = PixelCNNPlusPlus.paper()
    f = 160

    def conv(inputs: int, outputs: int, taps: int) -> int:
        return inputs * outputs * taps + 2 * outputs  # a bias and a length each output

    def block(taps: int, shortcut: int) -> int:
        return conv(2 * f, f, taps) + conv(2 * f, 2 * f, taps) + (conv(2 * shortcut, f, 1) if shortcut else 0)

    down = 15 * (block(6, 0) + block(4, f))
    up = 17 * (block(6, f) + block(4, 2 * f))
    between = 2 * 2 * (conv(f, f, 6) + conv(f, f, 4))
    ends = conv(4, f, 6) + conv(4, f, 3) + conv(4, f, 2) + conv(f, 10 * 10, 1)
    assert parameters(model) == down + up + between + ends == 53_659_080


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda: small((2, 4)), r"image_shape must be \(C, H, W\) with positive entries, got \(2, 4\)"),
        (lambda: small((0, 2, 4)), r"positive entries, got \(0, 2, 4\)"),
        (lambda: small((1, 3, 4)), r"divisible by 2\^\(resolutions - 1\) = 2, got 3 × 4"),
        (lambda: small((1, 4, 6), resolutions=3), "= 4, got 4 × 6"),
        (lambda: small(mixtures=0), "mixtures must be at least 1, got 0"),
        (lambda: small(levels=1), "levels must be at least 2, got 1"),
        (lambda: small().log_prob(torch.zeros(2, 4)), r"shape \(1, 2, 4\) or \(N, 1, 2, 4\), got \(2, 4\)"),
        (lambda: small().log_prob(torch.full((1, 2, 4), 0.5)), r"one of 2 levels.*\[0.5, 0.5\]"),
    ],
)
def test_bad_input_is_refused(attempt, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        attempt()
