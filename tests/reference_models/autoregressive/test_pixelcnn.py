"""PixelCNN: enumeration, the receptive field with its blind spot, colours, the sampler against its law."""

import pytest
import torch
import torch.nn.functional as F

from reference_models.autoregressive.pixelcnn import PixelCNN, residual_block
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


def small(shape=(1, 3, 3), levels=2, **sizes) -> PixelCNN:
    return PixelCNN(shape, levels, **{"features": 4, "blocks": 1, "head": 8, "first_kernel": 3, **sizes})


@pytest.mark.parametrize(("shape", "levels"), [((1, 3, 3), 2), ((3, 1, 2), 3), ((2, 2, 2), 2)])
def test_probabilities_of_all_images_sum_to_one(shape, levels) -> None:
    model = perturb(small(shape, levels, blocks=2), 0.3)
    assert close(model.log_prob(every_state(shape, levels)).exp().sum(), 1.0)


@pytest.mark.parametrize(("first_kernel", "kernel", "blocks"), [(3, 3, 0), (3, 3, 2), (5, 3, 1), (7, 3, 1), (3, 5, 1)])
def test_a_pixel_sees_what_walking_through_the_masks_reaches(first_kernel, kernel, blocks) -> None:
    """The set of nonzero gradients is exactly the set of pixels that hand-written mask offsets lead to."""
    model = small((1, 6, 7), first_kernel=first_kernel, kernel=kernel, blocks=blocks, features=8)
    layers = [mask_offsets("A", first_kernel)] + blocks * [[*mask_offsets("B", kernel), (0, 0)]]
    assert torch.equal(what_sees_what(model, model.logits, (1, 6, 7))[0, :, :, 0], reachable(layers, 6, 7))


def test_a_block_is_three_masked_convolutions_after_relus_and_a_residual() -> None:
    """With the masks written down: 3×3, the rows above, the left and the centre."""
    block = perturb(residual_block(2, 3, 1))
    _, reduce, _, look, _, expand = block.body
    x = torch.randn(2, 4, 5, 5)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 0, 0]]) * 1.0
    h = F.conv2d(x.clamp(min=0), reduce.weight, reduce.bias)
    h = F.conv2d(h.clamp(min=0), look.weight * mask, look.bias, padding=1)
    expected = x + F.conv2d(h.clamp(min=0), expand.weight, expand.bias)
    assert close(block(x), expected, 1e-12)


def test_the_blind_spot_stays_however_deep_the_stack() -> None:
    """With 3×3 kernels a pixel d rows above is seen only up to d columns to the right."""
    model = small((1, 5, 8), blocks=8, features=8)
    seen = what_sees_what(model, model.logits, (1, 5, 8))[0, :, :, 0]
    past = raster_past((1, 5, 8))[0, :, :, 0]
    rows, columns = torch.meshgrid(torch.arange(5), torch.arange(8), indexing="ij")
    up = rows[:, :, None, None] - rows
    right = columns - columns[:, :, None, None]
    blind = past & (right > up)
    assert bool(blind[4, 2, 3, 4])
    assert torch.equal(seen, past & ~blind)


@pytest.mark.parametrize("features", [6, 4])
def test_colours_see_the_past_and_the_colours_before_them(features) -> None:
    """Features divisible by three and not."""
    model = small((3, 2, 2), features=features, blocks=2, head=9)
    seen = what_sees_what(model, model.logits, (3, 2, 2))
    assert torch.equal(seen, raster_past((3, 2, 2)))


def test_changing_a_pixel_changes_only_later_conditionals() -> None:
    """Exactly none up to the pixel itself; some after it, among them the next one and the one below."""
    model = small((1, 4, 4), first_kernel=7)
    perturb(model, 0.5)
    x = (torch.rand(4, 1, 4, 4) < 0.5).double()
    before = model.logits(x).detach()
    for t in range(15):
        i, j = divmod(t, 4)
        flipped = x.clone()
        flipped[:, 0, i, j] = 1 - flipped[:, 0, i, j]
        change = (model.logits(flipped) - before).abs().amax(dim=(0, 1, 2)).flatten()
        assert bool((change[: t + 1] == 0).all())
        assert change[t + 1] > 1e-9 or j == 3
        assert t + 4 > 15 or change[t + 4] > 1e-9


def test_samples_follow_the_law(generator: torch.Generator) -> None:
    """20000 images of 2×2; fails by chance once in a million seeds."""
    model = small((1, 2, 2), features=8)
    log_p = strong_law(model, model.log_prob, every_state((1, 2, 2)), transposed)
    samples = model.sample(20_000, generator=generator)
    assert samples.shape == (20_000, 1, 2, 2)
    assert not departs_from_law(samples, log_p)
    assert departs_from_law(transposed(samples), log_p)


def test_the_first_rows_need_none_below_them() -> None:
    model = perturb(small((1, 4, 4)))
    x = torch.rand(2, 1, 4, 4)
    assert close(model.logits(x[:, :, :2]), model.logits(x)[..., :2, :], 1e-14)


def test_batch_shapes_and_precisions_agree() -> None:
    model = perturb(small())
    x = every_state((1, 3, 3))[::8]
    assert x.shape[0] == 64
    assert close(torch.stack([model.log_prob(one) for one in x]), model.log_prob(x), 1e-12)
    assert close(model.log_prob(x.long()), model.log_prob(x), 0.0)
    single = model.float().log_prob(x.float())
    assert single.dtype == torch.float32
    assert close(single.double(), model.double().log_prob(x), 1e-5)
    assert model.float().sample(2).dtype == torch.float32


def test_every_parameter_learns() -> None:
    model = perturb(small((3, 2, 2), 3, features=6))
    x = torch.randint(0, 3, (32, 3, 2, 2))
    assert every_parameter_learns(model, -model.log_prob(x).mean())


def test_the_papers_size() -> None:
    """7×7 to 256 maps; 15 blocks of 1×1 to 128, 3×3, 1×1 back to 256; two 1×1 to 1024 and to 3·256; biases."""
    with torch.device("meta"):
        count = parameters(PixelCNN.paper())
    block = (256 * 128 + 128) + (9 * 128 * 128 + 128) + (128 * 256 + 256)
    assert count == (49 * 3 * 256 + 256) + 15 * block + (256 * 1024 + 1024) + (1024 * 768 + 768)


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda: small(levels=1), "levels must be at least 2, got 1"),
        (lambda: small(features=0), "features must be at least 1, got 0"),
        (lambda: small(blocks=-1), "blocks must be at least 0, got -1"),
        (lambda: small(kernel=4), r"odd sides, got \(4, 4\)"),
        (lambda: small().log_prob(torch.zeros(3, 3)), r"shape \(1, 3, 3\) or \(N, 1, 3, 3\), got \(3, 3\)"),
        (lambda: small().log_prob(torch.full((1, 3, 3), 0.5)), r"one of 2 levels.*\[0.5, 0.5\]"),
    ],
)
def test_bad_input_is_refused(attempt, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        attempt()
