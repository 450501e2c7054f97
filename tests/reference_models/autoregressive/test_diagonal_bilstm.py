"""Diagonal BiLSTM: enumeration, the recursion pixel by pixel, what is in view, the sampler's law."""

import pytest
import torch

from reference_models.autoregressive.diagonal_bilstm import DiagonalBiLSTM, DiagonalBiLSTMLayer, skew, unskew
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


def small(shape=(1, 3, 3), levels=2, **sizes) -> DiagonalBiLSTM:
    return DiagonalBiLSTM(shape, levels, **{"features": 4, "layers": 1, "head": 8, "first_kernel": 3, **sizes})


@pytest.mark.parametrize(("shape", "levels"), [((1, 3, 3), 2), ((3, 1, 2), 3), ((2, 2, 2), 2)])
def test_probabilities_of_all_images_sum_to_one(shape, levels) -> None:
    model = perturb(small(shape, levels, layers=2), 0.3)
    assert close(model.log_prob(every_state(shape, levels)).exp().sum(), 1.0)


def test_skewing_moves_each_row_by_its_number() -> None:
    x = torch.arange(1.0, 7.0).reshape(1, 1, 3, 2)
    assert skew(x)[0, 0].tolist() == [[1, 2, 0, 0], [0, 3, 4, 0], [0, 0, 5, 6]]
    assert torch.equal(unskew(skew(x), 2), x)
    x = torch.randn(2, 3, 4, 7)
    assert torch.equal(unskew(skew(x), 7), x)


def test_a_layer_is_two_recursions_pixel_by_pixel() -> None:
    """Loops in image coordinates: state from the left (or right) and above, zero outside; the second a row down."""
    layer = perturb(DiagonalBiLSTMLayer(2, 1), 0.3)
    H, W = 4, 3
    x = torch.randn(1, 4, H, W)
    zero = torch.zeros(2)

    def sweep(lstm: torch.nn.Module, step: int) -> dict[tuple[int, int], torch.Tensor]:
        h, c = {}, {}
        for i in range(H):
            for j in range(W)[::step]:
                beside = (i, j - step)
                a = lstm.input_to_state.weight[:, :, 0, 0] @ x[0, :, i, j] + lstm.input_to_state.bias
                a = a + lstm.state_to_state.weight[:, :, 0] @ h.get((i - 1, j), zero)
                a = a + lstm.state_to_state.weight[:, :, 1] @ h.get(beside, zero)
                o, f, into, g = a.reshape(4, 2)
                c[i, j] = f.sigmoid() * c.get(beside, zero) + into.sigmoid() * g.tanh()
                h[i, j] = o.sigmoid() * c[i, j].tanh()
        return h

    right, left = sweep(layer.rightward, 1), sweep(layer.leftward, -1)
    expected = torch.zeros(1, 4, H, W)
    for i in range(H):
        for j in range(W):
            state = right[i, j] + left.get((i - 1, j), zero)
            expected[0, :, i, j] = x[0, :, i, j] + layer.out.weight[:, :, 0, 0] @ state + layer.out.bias
    assert close(layer(x), expected, 1e-12)


@pytest.mark.parametrize(("layers", "first_kernel"), [(1, 3), (2, 3), (1, 5)])
def test_a_pixel_sees_its_whole_past_but_for_the_end_of_the_row_above(layers, first_kernel) -> None:
    """The last pixel of the row above stands before no position of that row, so no state of the row has read it; it is
    seen within the reach of the A mask alone, r columns."""
    shape = (1, 4, 6)
    model = small(shape, features=6, layers=layers, first_kernel=first_kernel)
    expected = raster_past(shape)
    for i in range(1, 4):
        expected[0, i, : 5 - first_kernel // 2, 0, i - 1, 5] = False
    assert torch.equal(what_sees_what(model, model.logits, shape), expected)


@pytest.mark.parametrize("features", [6, 4])
def test_colours_see_the_past_and_the_colours_before_them(features) -> None:
    model = small((3, 2, 2), features=features, head=9)
    assert torch.equal(what_sees_what(model, model.logits, (3, 2, 2)), raster_past((3, 2, 2)))


def test_samples_follow_the_law(generator: torch.Generator) -> None:
    """20000 images of 2×2; fails by chance once in a million seeds."""
    model = small((1, 2, 2), features=8)
    log_p = strong_law(model, model.log_prob, every_state((1, 2, 2)), transposed)
    samples = model.sample(20_000, generator=generator)
    assert not departs_from_law(samples, log_p)
    assert departs_from_law(transposed(samples), log_p)


def test_the_first_rows_need_none_below_them() -> None:
    model = perturb(small((1, 4, 4)))
    x = torch.rand(2, 1, 4, 4)
    assert close(model.logits(x[:, :, :2]), model.logits(x)[..., :2, :], 1e-14)


def test_batch_shapes_and_precisions_agree() -> None:
    model = perturb(small())
    x = every_state((1, 3, 3))[::8]
    assert close(torch.stack([model.log_prob(one) for one in x]), model.log_prob(x), 1e-12)
    single = model.float().log_prob(x.float())
    assert single.dtype == torch.float32
    assert close(single.double(), model.double().log_prob(x), 1e-5)


def test_every_parameter_learns() -> None:
    model = perturb(small((3, 2, 2), 3, features=6))
    x = torch.randint(0, 3, (32, 3, 2, 2))
    assert every_parameter_learns(model, -model.log_prob(x).mean())


def test_the_papers_size() -> None:
    """h = 128: in each direction 1×1 from 256 to 4·128 and two taps from 128 to 4·128; 1×1 back to 256; 12 of these."""
    with torch.device("meta"):
        count = parameters(DiagonalBiLSTM.paper())
    layer = 2 * ((256 * 512 + 512) + 2 * 128 * 512) + (128 * 256 + 256)
    assert count == (49 * 3 * 256 + 256) + 12 * layer + (256 * 1024 + 1024) + (1024 * 768 + 768)


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda: small(layers=0), "layers must be at least 1, got 0"),
        (lambda: small(features=0), "features must be at least 1, got 0"),
        (lambda: small(first_kernel=2), r"odd sides, got \(2, 2\)"),
        (lambda: small().log_prob(torch.zeros(3, 3)), r"shape \(1, 3, 3\) or \(N, 1, 3, 3\), got \(3, 3\)"),
    ],
)
def test_bad_input_is_refused(attempt, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        attempt()
