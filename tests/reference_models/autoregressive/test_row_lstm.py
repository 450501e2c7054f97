"""Row LSTM: enumeration, the recursion pixel by pixel, the triangular receptive field, the sampler's law."""

import pytest
import torch

from reference_models.autoregressive.row_lstm import RowLSTM, RowLSTMLayer, lstm_update
from reference_models.exact import departs_from_law, every_state
from tests.reference_models.autoregressive.laws import (
    every_parameter_learns,
    mask_offsets,
    parameters,
    raster_past,
    reachable,
    strong_law,
    transposed,
    what_sees_what,
)
from tests.reference_models.helpers import close, perturb


def small(shape=(1, 3, 3), levels=2, **sizes) -> RowLSTM:
    return RowLSTM(shape, levels, **{"features": 4, "layers": 1, "head": 8, "first_kernel": 3, **sizes})


@pytest.mark.parametrize(("shape", "levels"), [((1, 3, 3), 2), ((3, 1, 2), 3), ((2, 2, 2), 2)])
def test_probabilities_of_all_images_sum_to_one(shape, levels) -> None:
    model = perturb(small(shape, levels, layers=2), 0.3)
    assert close(model.log_prob(every_state(shape, levels)).exp().sum(), 1.0)


def test_one_step_is_that_of_torchs_lstm_cell() -> None:
    """The gates of `torch.nn.LSTMCell` stand in the order i, f, g, o."""
    cell = torch.nn.LSTMCell(3, 4)
    x, h, c = torch.randn(5, 3), torch.randn(5, 4), torch.randn(5, 4)
    i, f, g, o = (x @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh).chunk(4, dim=1)
    new_h, new_c = lstm_update(torch.cat([o, f, i, g], dim=1), c)
    expected_h, expected_c = cell(x, (h, c))
    assert close(new_h, expected_h, 1e-12)
    assert close(new_c, expected_c, 1e-12)


def test_a_layer_is_equation_3_pixel_by_pixel() -> None:
    """Loops over rows, columns and taps; one image channel, states of two maps."""
    layer = perturb(RowLSTMLayer(2, 3, 1), 0.3)
    x = torch.randn(1, 4, 4, 5)
    K_is, b = layer.input_to_state.weight[:, :, 0], layer.input_to_state.bias  # (8, 4, 3): left, centre, right
    K_ss = layer.state_to_state.weight  # (8, 2, 3)
    zero = torch.zeros(2)
    h, c = {}, {}
    expected = torch.zeros(1, 4, 4, 5)
    for i in range(4):
        for j in range(5):
            a = b + K_is[:, :, 1] @ x[0, :, i, j]
            if j > 0:
                a = a + K_is[:, :, 0] @ x[0, :, i, j - 1]
            for tap in (-1, 0, 1):
                a = a + K_ss[:, :, 1 + tap] @ h.get((i - 1, j + tap), zero)
            o, f, into, g = a.reshape(4, 2)
            c[i, j] = f.sigmoid() * c.get((i - 1, j), zero) + into.sigmoid() * g.tanh()
            h[i, j] = o.sigmoid() * c[i, j].tanh()
            expected[0, :, i, j] = x[0, :, i, j] + layer.out.weight[:, :, 0, 0] @ h[i, j] + layer.out.bias
    assert close(layer(x), expected, 1e-12)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_pixel_sees_a_triangle_above_it(layers) -> None:
    """Walking: the A mask, then for each layer one step left and any number of rows up, a pixel wider each."""
    shape = (1, 6, 7)
    model = small(shape, layers=layers, features=6)
    triangle = [(-d, dj) for d in range(6) for dj in range(-d - 1, d + 1)] + [(0, 0)]
    walk = reachable([mask_offsets("A", 3)] + layers * [triangle], 6, 7)
    seen = what_sees_what(model, model.logits, shape)[0, :, :, 0]
    assert torch.equal(seen, walk)
    if layers == 1:  # not the whole past: the row above is seen up to two columns to the right
        assert not bool(seen[5, 0, 4, 3])
        assert bool(raster_past(shape)[0, 5, 0, 0, 4, 3])


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
    """h = 128: 1×3 from 256 to 4·128, state to state 3 taps from 128 to 4·128, 1×1 back to 256; 12 of these."""
    with torch.device("meta"):
        count = parameters(RowLSTM.paper())
    layer = (3 * 256 * 512 + 512) + 3 * 128 * 512 + (128 * 256 + 256)
    assert count == (49 * 3 * 256 + 256) + 12 * layer + (256 * 1024 + 1024) + (1024 * 768 + 768)


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda: small(kernel=2), "kernel must be odd, so that a state sees both sides alike, got 2"),
        (lambda: small(layers=0), "layers must be at least 1, got 0"),
        (lambda: small(features=0), "features must be at least 1, got 0"),
        (lambda: small().log_prob(torch.zeros(3, 3)), r"shape \(1, 3, 3\) or \(N, 1, 3, 3\), got \(3, 3\)"),
    ],
)
def test_bad_input_is_refused(attempt, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        attempt()
