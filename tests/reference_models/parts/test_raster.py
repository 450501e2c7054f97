"""Levels, masks and completion: what the raster-ordered image models share."""

import math
from itertools import pairwise, product

import pytest
import torch

from reference_models.exact import departs_from_law, every_state
from reference_models.parts.raster import (
    RasterConv2d,
    RasterModel,
    causal_mask,
    colour_groups,
    from_levels,
    to_conditionals,
    to_levels,
)
from reference_models.parts.sampling import draw_bernoulli, draw_categorical
from tests.reference_models.helpers import close, perturb


class Chain(RasterModel):
    """Each value repeats the one before it in raster order with probability 0.9; the first is 1 with chance 0.7."""

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__(image_shape, 2)
        self.weight = torch.nn.Parameter(torch.tensor(math.log(9.0)))

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        values = x.permute(0, 2, 3, 1).flatten(1)
        logit = self.weight * (2 * values[:, :-1] - 1)
        logit = torch.cat([torch.full((n, 1), math.log(7 / 3)), logit], dim=1)
        one = logit.reshape(n, h, w, c).permute(0, 3, 1, 2)
        return torch.stack([torch.zeros_like(one), one], dim=1)


def chain_probability(values: list[float]) -> float:
    p = 0.7 if values[0] == 1 else 0.3
    for a, b in pairwise(values):
        p *= 0.9 if a == b else 0.1
    return p


def test_levels_and_floats_are_two_ways_to_write_an_image() -> None:
    k = torch.arange(17)
    assert torch.equal(to_levels(k / 16, 17), k)
    assert torch.equal(to_levels(k, 17), k)
    assert close(from_levels(k, 17, torch.float64), torch.linspace(0, 1, 17), 1e-15)
    assert torch.equal(to_levels(torch.arange(256, dtype=torch.float32) / 255, 256), torch.arange(256))


@pytest.mark.parametrize(
    ("x", "found"),
    [
        (torch.tensor([0.0, 0.5]), r"\[0, 0.5\]"),
        (torch.tensor([-1.0, 0.0]), r"\[-1, 0\]"),
        (torch.tensor([0, 2]), r"\[0, 2\]"),
        (torch.tensor([0.0, float("nan")]), "nan"),
    ],
)
def test_what_is_no_level_is_refused(x, found) -> None:
    with pytest.raises(ValueError, match=f"one of 2 levels.*{found}"):
        to_levels(x, 2)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("kind", ["A", "B"])
def test_a_mask_shows_what_precedes_the_centre_in_raster_order(kind, kernel) -> None:
    mask = causal_mask(kind, colour_groups(1, 1), colour_groups(1, 1), (kernel, kernel))[0, 0]
    centre = kernel * kernel // 2
    expected = [1.0 if t < centre or (t == centre and kind == "B") else 0.0 for t in range(kernel * kernel)]
    assert mask.flatten().tolist() == expected


def test_at_the_centre_colours_see_the_colours_before_them() -> None:
    groups = colour_groups(3, 3)
    assert causal_mask("A", groups, groups, (1, 1))[:, :, 0, 0].tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]
    assert causal_mask("B", groups, groups, (1, 1))[:, :, 0, 0].tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert causal_mask("A", groups, groups, (3, 3))[:, :, 0].min() == 1


def test_colours_share_the_features_in_order_and_as_equally_as_can_be() -> None:
    assert colour_groups(7, 3).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert colour_groups(256, 3).bincount().tolist() == [86, 85, 85]


def test_each_gate_has_colours_of_its_own() -> None:
    conv = RasterConv2d("B", 3, 6, 1, channels=3, gates=2)
    assert conv.mask[:, :, 0, 0].tolist() == 2 * [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


@pytest.mark.parametrize("kernel", [1, 3, (1, 5), (5, 3)], ids=str)
@pytest.mark.parametrize("kind", ["A", "B"])
def test_an_output_depends_on_exactly_what_precedes_it_within_the_kernel(kind, kernel) -> None:
    """By the gradient of each colour of the middle pixel, two colours of two and three maps."""
    conv = perturb(RasterConv2d(kind, 4, 6, kernel, channels=2))
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    x = torch.randn(1, 4, 7, 7, requires_grad=True)
    assert conv(x).shape == (1, 6, 7, 7)
    for colour in (0, 1):
        (slope,) = torch.autograd.grad(conv(x)[0, 3 * colour : 3 * colour + 3, 3, 3].sum(), x)
        seen = {tuple(place) for place in slope[0].unflatten(0, (2, 2)).abs().sum(1).nonzero().tolist()}
        near = product((0, 1), range(7), range(7))
        near = [(c, i, j) for c, i, j in near if abs(i - 3) <= height // 2 and abs(j - 3) <= width // 2]
        own = colour if kind == "B" else colour - 1
        assert seen == {(c, i, j) for c, i, j in near if (i, j) < (3, 3) or ((i, j) == (3, 3) and c <= own)}


def test_weights_that_are_changed_stay_masked() -> None:
    conv = RasterConv2d("A", 2, 4, 3, channels=2)
    conv.load_state_dict({"weight": torch.randn(4, 2, 3, 3), "bias": torch.randn(4)})
    x = torch.randn(1, 2, 5, 5)
    y = torch.nn.functional.conv2d(x, conv.weight * conv.mask, conv.bias, padding=1)
    assert close(conv(x), y, 1e-14)
    assert conv.float()(x.float()).dtype == torch.float32


def test_the_head_of_a_channel_is_a_block_of_maps() -> None:
    features = torch.arange(6.0).reshape(1, 6, 1, 1)  # two channels of three levels
    assert to_conditionals(features, 2, 3)[0, :, :, 0, 0].T.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("shape", [(1, 2, 3), (2, 1, 2)])
def test_the_likelihood_gathers_each_values_own_conditional(shape) -> None:
    """A Markov chain along the raster, whose probabilities are known."""
    model = Chain(shape)
    for x in every_state(shape)[::3]:
        values = x.permute(1, 2, 0).flatten().tolist()
        assert close(model.log_prob(x).exp(), chain_probability(values), 1e-12)
    assert model.log_prob(every_state(shape)).shape == (2 ** math.prod(shape),)


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 1, 2)])
def test_samples_are_drawn_in_raster_order(shape, generator: torch.Generator) -> None:
    """20000 draws; fails by chance once in a million seeds."""
    model = Chain(shape)
    samples = model.sample(20_000, generator=generator)
    assert not departs_from_law(samples, model.log_prob(every_state(shape)))
    assert departs_from_law(samples.flip(2 if shape[0] == 1 else 1), model.log_prob(every_state(shape)))


def test_completion_draws_the_unknown_given_what_is_before_it(generator: torch.Generator) -> None:
    """First two of four known: the law of the rest is the chain's; fails by chance once in a million seeds."""
    model = Chain((1, 2, 2))
    x = torch.tensor([1.0, 0.0, 0.5, float("nan")]).reshape(1, 2, 2).expand(20_000, 1, 2, 2)
    known = torch.tensor([True, True, False, False]).reshape(1, 2, 2).expand(20_000, 1, 2, 2)
    done = model.complete(x, known, generator=generator)
    assert bool((done[:, 0, 0] == torch.tensor([1.0, 0.0])).all())
    law = torch.tensor([chain_probability([1, 0, a, b]) for a in (0, 1) for b in (0, 1)])
    assert not departs_from_law(done[:, 0, 1], (law / law.sum()).log())


def test_completion_keeps_what_is_known_in_each_image_and_the_input_as_it_is(generator: torch.Generator) -> None:
    model = Chain((1, 3, 3))
    x = (torch.rand(64, 1, 3, 3, generator=generator) < 0.5).double()
    known = torch.rand(64, 1, 3, 3, generator=generator) < 0.5
    before = x.clone()
    done = model.complete(x, known, generator=generator)
    assert torch.equal(x, before)
    assert torch.equal(done[known], x[known])
    assert bool(((done == 0) | (done == 1)).all())
    assert bool((done[~known] != x[~known]).any())
    assert torch.equal(model.complete(x, torch.ones_like(known)), x)
    assert model.complete(x[0], known[0], generator=generator).shape == (1, 3, 3)


def test_a_batch_may_know_different_places_in_different_images(generator: torch.Generator) -> None:
    """Half of the images know their second value, half do not; fails by chance twice in a million seeds."""
    model = Chain((1, 1, 3))
    x = torch.tensor([1.0, 0.0, 0.0]).expand(40_000, 1, 1, 3)
    known = torch.tensor([[True, True, False], [True, False, False]]).repeat(20_000, 1).reshape(x.shape)
    done = model.complete(x, known, generator=generator)[:, 0, 0, 1:]
    law = torch.tensor([chain_probability([1, a, b]) for a in (0, 1) for b in (0, 1)]) / 0.7
    assert not departs_from_law(done[1::2], law.log())
    assert bool((done[::2, 0] == 0).all())
    assert not departs_from_law(done[::2, 1:], torch.tensor([0.9, 0.1]).log())


def test_completion_of_nothing_is_sampling() -> None:
    model = Chain((1, 3, 3))
    one, two = (torch.Generator(model.weight.device).manual_seed(3) for _ in range(2))
    junk = torch.full((50, 1, 3, 3), -1.0)
    done = model.complete(junk, torch.zeros_like(junk, dtype=torch.bool), generator=one)
    assert torch.equal(done, model.sample(50, generator=two))
    integers = model.complete(torch.ones(1, 3, 3).long(), torch.ones(1, 3, 3).bool())
    assert torch.equal(integers, torch.ones(1, 3, 3))


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda: Chain((3, 3)), r"\(C, H, W\) with positive entries, got \(3, 3\)"),
        (lambda: Chain((1, 0, 3)), r"positive entries, got \(1, 0, 3\)"),
        (lambda: Chain((1, 2, 2)).log_prob(torch.zeros(2, 2)), r"shape \(1, 2, 2\) or \(N, 1, 2, 2\), got \(2, 2\)"),
        (
            lambda: Chain((1, 2, 2)).complete(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)),
            r"known must be bool of shape \(1, 2, 2\), got torch.float64",
        ),
        (
            lambda: Chain((1, 1, 2)).complete(torch.full((1, 1, 2), 0.3), torch.ones(1, 1, 2).bool()),
            r"one of 2 levels.*\[0.3, 0.3\]",
        ),
        (lambda: causal_mask("C", colour_groups(1, 1), colour_groups(1, 1), (3, 3)), "'A' or 'B', got 'C'"),
        (lambda: RasterConv2d("A", 1, 1, 4, 1), r"odd sides, got \(4, 4\)"),
        (lambda: RasterConv2d("A", 1, 6, 3, 1, gates=4), "6 feature maps do not split into 4 gates"),
    ],
)
def test_bad_input_is_refused(attempt, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        attempt()


def test_draws_have_the_probabilities_of_their_logits(generator: torch.Generator) -> None:
    """Within five standard errors of 40000 draws."""
    logits = torch.tensor([0.5, -1.0, 2.0]).expand(40_000, 3)
    p = torch.softmax(logits[0], dim=0)
    share = torch.bincount(draw_categorical(logits, generator), minlength=3) / 40_000
    assert bool(((share - p).abs() < 5 * (p * (1 - p) / 40_000).sqrt()).all())
    q = torch.sigmoid(logits[0])
    share = draw_bernoulli(logits, generator).mean(0)
    assert bool(((share - q).abs() < 5 * (q * (1 - q) / 40_000).sqrt()).all())
    assert draw_categorical(logits[0]).shape == ()
