"""Gated PixelCNN: enumeration, the receptive field without blind spot, one layer by hand, the sampler's law."""

import pytest
import torch
import torch.nn.functional as F

from reference_models.autoregressive.gated_pixelcnn import GatedLayer, GatedPixelCNN, gate, shift_down
from reference_models.exact import departs_from_law, every_state
from tests.reference_models.autoregressive.laws import (
    every_parameter_learns,
    parameters,
    raster_past,
    strong_law,
    transposed,
    what_sees_what,
)
from tests.reference_models.helpers import close, perturb


def small(shape=(1, 3, 3), levels=2, **sizes) -> GatedPixelCNN:
    return GatedPixelCNN(shape, levels, **{"features": 4, "layers": 2, "head": 8, "first_kernel": 3, **sizes})


@pytest.mark.parametrize(("shape", "levels"), [((1, 3, 3), 2), ((3, 1, 2), 3), ((2, 2, 2), 2)])
def test_probabilities_of_all_images_sum_to_one(shape, levels) -> None:
    model = perturb(small(shape, levels, layers=3), 0.3)
    assert close(model.log_prob(every_state(shape, levels)).exp().sum(), 1.0)


def test_a_deep_stack_sees_the_whole_past() -> None:
    """Where plain PixelCNN is blind, above and far to the right, the gated one sees."""
    model = small((1, 4, 6), layers=6)
    assert torch.equal(what_sees_what(model, model.logits, (1, 4, 6)), raster_past((1, 4, 6)))


@pytest.mark.parametrize(("first_kernel", "kernel", "layers"), [(3, 3, 1), (3, 3, 2), (5, 3, 1), (3, 5, 2)])
def test_a_pixel_sees_a_full_rectangle_above_and_a_segment_to_its_left(first_kernel, kernel, layers) -> None:
    """Reach R, the sum of the radii: rows i−R−1..i−1 and columns j−R..j+R, and j−R..j−1 of the own row."""
    model = small((1, 6, 7), first_kernel=first_kernel, kernel=kernel, layers=layers)
    R = first_kernel // 2 + (layers - 1) * (kernel // 2)
    rows, columns = torch.meshgrid(torch.arange(6), torch.arange(7), indexing="ij")
    up = rows[:, :, None, None] - rows
    right = columns - columns[:, :, None, None]
    expected = ((up >= 1) & (up <= R + 1) & (right.abs() <= R)) | ((up == 0) & (right < 0) & (right >= -R))
    assert torch.equal(what_sees_what(model, model.logits, (1, 6, 7))[0, :, :, 0], expected)


@pytest.mark.parametrize("features", [6, 4])
def test_colours_see_the_past_and_the_colours_before_them(features) -> None:
    model = small((3, 2, 2), features=features, layers=3, head=9)
    assert torch.equal(what_sees_what(model, model.logits, (3, 2, 2)), raster_past((3, 2, 2)))


def test_the_gate_is_tanh_of_the_first_half_times_sigmoid_of_the_second() -> None:
    x = torch.tensor([0.7, -0.2]).reshape(1, 2, 1, 1)
    expected = 0.6043677771171635 / (1 + torch.exp(torch.tensor(0.2)))  # tanh(0.7) = 0.60437
    assert close(gate(x).squeeze(), expected, 1e-12)


def test_the_first_layer_is_that_of_figure_2() -> None:
    """As the paper draws it: a k×k convolution masked to the rows up to the centre, whose result moves down by one row
    on its way into the horizontal stack, which convolves its own row under mask A."""
    layer = perturb(GatedLayer("A", 1, 3, 3, 1, 0))
    x = torch.randn(2, 1, 5, 5)
    v, h = layer(shift_down(x), x, None)
    full = torch.zeros(6, 1, 3, 3)
    full[:, :, :2] = layer.vertical.weight
    above = shift_down(F.conv2d(x, full, padding=1))
    above = above + layer.vertical.bias[:, None, None]
    row = torch.zeros(6, 1, 1, 3)
    row[..., 0] = layer.horizontal.weight[..., 0]  # the centre is hidden, the right does not exist
    left = F.conv2d(x, row, layer.horizontal.bias, padding=(0, 1)) + layer.link(above)
    assert close(v, torch.tanh(above[:, :3]) * torch.sigmoid(above[:, 3:]), 1e-12)
    assert close(h, layer.out(torch.tanh(left[:, :3]) * torch.sigmoid(left[:, 3:])), 1e-12)


def test_later_layers_are_residual_in_the_horizontal_stack_alone() -> None:
    layer = GatedLayer("B", 3, 3, 3, 1, 0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.out.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    v, h = torch.randn(2, 1, 3, 4, 4)
    new_v, new_h = layer(v, h, None)
    assert close(new_h, h + layer.out.bias.view(3, 1, 1), 0.0)
    assert close(new_v, torch.zeros_like(v), 0.0)


def test_samples_follow_the_law(generator: torch.Generator) -> None:
    """20000 images of 2×2; fails by chance once in a million seeds."""
    model = small((1, 2, 2), features=8)
    log_p = strong_law(model, model.log_prob, every_state((1, 2, 2)), transposed, scale=2.0)
    samples = model.sample(20_000, generator=generator)
    assert not departs_from_law(samples, log_p)
    assert departs_from_law(transposed(samples), log_p)


def test_batch_shapes_and_precisions_agree() -> None:
    model = perturb(small())
    x = every_state((1, 3, 3))[::8]
    assert close(torch.stack([model.log_prob(one) for one in x]), model.log_prob(x), 1e-12)
    single = model.float().log_prob(x.float())
    assert single.dtype == torch.float32
    assert close(single.double(), model.double().log_prob(x), 1e-5)


def test_the_first_rows_need_none_below_them() -> None:
    model = perturb(small((1, 4, 4)))
    x = torch.rand(2, 1, 4, 4)
    assert close(model.logits(x[:, :, :2]), model.logits(x)[..., :2, :], 1e-14)


def test_every_parameter_learns_but_the_last_vertical_gate_feeds_only_the_link() -> None:
    model = perturb(small((3, 2, 2), 3, features=6))
    x = torch.randint(0, 3, (32, 3, 2, 2))
    assert every_parameter_learns(model, -model.log_prob(x).mean())


def test_the_papers_size() -> None:
    """20 layers of p = 384 maps, 5×5: 3×5 above, 1×3 to the left, link 2p → 2p, 1×1 p → p; a head of 1024 maps."""
    with torch.device("meta"):
        count = parameters(GatedPixelCNN.paper())
    p = 384

    def layer(inputs: int) -> int:
        return (15 * inputs * 2 * p + 2 * p) + (3 * inputs * 2 * p + 2 * p) + (4 * p * p + 2 * p) + (p * p + p)

    assert count == layer(3) + 19 * layer(p) + (p * 1024 + 1024) + (1024 * 768 + 768)


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda: small(layers=0), "layers must be at least 1, got 0"),
        (lambda: small(kernel=2), "odd"),
        (
            lambda: small().logits(torch.zeros(1, 1, 3, 3), torch.zeros(1, 2, 1, 1)),
            r"0 features, got shape \(1, 2, 1, 1\)",
        ),
        (lambda: small(condition_features=2).logits(torch.zeros(1, 1, 3, 3)), "2 features, got none"),
        (lambda: small().log_prob(torch.zeros(3, 3)), r"shape \(1, 3, 3\) or \(N, 1, 3, 3\), got \(3, 3\)"),
    ],
)
def test_bad_input_is_refused(attempt, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        attempt()
