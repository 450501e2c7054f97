"""The mixture of discretised logistics of PixelCNN++, against SciPy's logistic distribution."""

import math
from itertools import product

import pytest
import torch
from scipy.stats import logistic

from reference_models.exact import departs_from_law, every_state
from reference_models.parts.pixel_mixture import PixelMixture
from tests.reference_models.helpers import close, numpy


def by_scipy(parameters: torch.Tensor, k: tuple[int, ...], levels: int) -> float:
    """Equations 2 and 3 of one pixel, on the scale of the levels 0..K−1 as the paper writes them."""
    C = len(k)
    rows = numpy(parameters.unflatten(-1, (1 + 2 * C + C * (C - 1) // 2, -1)))
    weights = numpy(torch.softmax(parameters.unflatten(-1, (len(rows), -1))[0], dim=0))
    half = (levels - 1) / 2
    total = 0.0
    for i, weight in enumerate(weights):
        p = weight
        for c in range(C):
            mean, scale = rows[1 + c, i], math.exp(rows[1 + C + c, i])
            for earlier in range(c):
                coupling = math.tanh(rows[1 + 2 * C + c * (c - 1) // 2 + earlier, i])
                mean += coupling * (k[earlier] / half - 1)
            law = logistic(loc=(mean + 1) * half, scale=scale * half)
            upper = 1.0 if k[c] == levels - 1 else law.cdf(k[c] + 0.5)
            lower = 0.0 if k[c] == 0 else law.cdf(k[c] - 0.5)
            p *= upper - lower
        total += p
    return total


@pytest.mark.parametrize(("channels", "levels"), [(1, 5), (2, 4), (3, 3), (4, 2)])
def test_probabilities_are_those_of_scipy(channels, levels) -> None:
    parameters = torch.randn(4 * PixelMixture.parameters_per_component(channels))
    law = PixelMixture(parameters, channels, levels)
    for k in product(range(levels), repeat=channels):
        assert close(law.log_prob(torch.tensor(k)).exp(), by_scipy(parameters, k, levels), 1e-12)


def test_the_probabilities_of_all_colours_sum_to_one() -> None:
    """Six pixels at once, each with a law of its own."""
    parameters = 2 * torch.randn(2, 3, 1, 5 * 10)
    k = torch.cartesian_prod(*[torch.arange(4)] * 3)  # (64, 3)
    total = PixelMixture(parameters, 3, 4).log_prob(k.expand(2, 3, 64, 3)).exp().sum(-1)
    assert close(total, torch.ones(2, 3), 1e-9)


def test_the_probabilities_of_256_levels_sum_to_one_with_components_at_the_edges() -> None:
    means = torch.tensor([5.0, 100.0, 180.0, 252.0]) / 127.5 - 1
    log_scales = torch.tensor([-4.0, -2.0, -7.0, -1.0])
    law = PixelMixture(torch.cat([torch.zeros(4), means, log_scales]), 1, 256)
    log_p = law.log_prob(torch.arange(256)[:, None])
    assert close(log_p.exp().sum(), 1.0)
    assert bool(torch.isfinite(log_p).all())


def test_far_from_a_narrow_component_the_log_probability_is_finite_and_has_a_gradient() -> None:
    parameters = torch.tensor([0.0, 0.9, -7.0], requires_grad=True)
    for k in (0, 1, 128, 254, 255):
        log_p = PixelMixture(parameters, 1, 256).log_prob(torch.tensor([k]))
        (gradient,) = torch.autograd.grad(log_p, parameters)
        assert bool(torch.isfinite(log_p))
        assert bool(torch.isfinite(gradient).all())


def test_one_value_by_hand() -> None:
    """Mean 0, scale ½ on [−1, 1], 3 levels at −1, 0, 1: P(1) = σ(1) − σ(−1) = 0.46212."""
    law = PixelMixture(torch.tensor([0.0, 0.0, math.log(0.5)]), 1, 3)
    assert close(law.log_prob(torch.tensor([1])).exp(), 0.46211715726, 1e-10)


def test_scales_do_not_fall_below_the_bound() -> None:
    narrow, bound = (PixelMixture(torch.tensor([0.0, 0.1, s]), 1, 9) for s in (-30.0, -7.0))
    k = torch.arange(9)[:, None]
    assert close(narrow.log_prob(k), bound.log_prob(k), 0.0)


@pytest.mark.parametrize(("channels", "levels"), [(1, 6), (3, 3)])
def test_samples_follow_the_law(channels, levels, generator: torch.Generator) -> None:
    """30000 draws with strong couplings; fails by chance once in a million seeds."""
    parameters = torch.randn(3 * PixelMixture.parameters_per_component(channels))
    parameters[3 * (1 + channels) : 3 * (1 + 2 * channels)] -= 1.0  # narrower: level after level matters
    law = PixelMixture(parameters.expand(30_000, -1), channels, levels)
    k = every_state((channels,), levels) * (levels - 1)
    log_p = PixelMixture(parameters, channels, levels).log_prob(k.round().long())
    samples = law.sample(generator)
    assert samples.dtype == torch.long
    assert not departs_from_law(samples / (levels - 1), log_p, levels)
    if channels > 1:
        assert departs_from_law(samples.flip(1) / (levels - 1), log_p, levels)
