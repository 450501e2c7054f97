"""Uniform dequantisation: the exact probabilities of the levels by quadrature, on two pixels of three levels."""

from __future__ import annotations

import math

import pytest
import scipy.integrate
import torch

from reference_models.flows.bases import StandardLogistic
from reference_models.flows.change_of_variables import Composed, FlowDensity
from reference_models.flows.dequantisation import UniformDequantisation
from reference_models.flows.linear import LinearFlow
from reference_models.flows.logit_transform import Logit
from tests.reference_models.helpers import close, perturb, standard_errors

K = 3


def density() -> FlowDensity:
    """A correlated density on the unit square."""
    linear = perturb(LinearFlow(2), 0.3)
    return FlowDensity(Composed([Logit((2,), alpha=0.0), linear.transform])).requires_grad_(False)


def uniform(dims: int) -> FlowDensity:
    """The logit of a uniform is logistic."""
    return FlowDensity(Logit((dims,), alpha=0.0), StandardLogistic((dims,)))


def exact(model: FlowDensity, levels: tuple[int, int]) -> float:
    """P(x) = ∫ over the level's cell of p(y) dy, by SciPy."""

    def p(b: float, a: float) -> float:
        return float(model.log_prob(torch.tensor([a, b])).exp())

    low, high = [level / K for level in levels], [(level + 1) / K for level in levels]
    return scipy.integrate.dblquad(p, low[0], high[0], low[1], high[1], epsabs=1e-5, epsrel=1e-5)[0]


def test_a_uniform_density_gives_every_image_the_same_probability(generator: torch.Generator) -> None:
    """-D log K nats for any noise."""
    model = UniformDequantisation(uniform(6), num_levels=16)
    levels = torch.randint(0, 16, (64, 6))
    assert close(model.bound(levels, generator=generator), torch.full((64,), -6 * math.log(16)), 1e-9)
    assert close(model.bound(levels[0], generator=generator), -6 * math.log(16), 1e-9)


def test_the_bound_lies_below_log_p_and_the_weights_average_to_p(generator: torch.Generator) -> None:
    """e^bound is an unbiased estimate of P(x): 4000 draws within 5 standard errors (6e-7 of seeds fail)."""
    p = density()
    model = UniformDequantisation(p, K)
    levels = (0, 2)
    draws = model.bound(torch.tensor(levels).expand(4000, 2), generator=generator)
    truth = exact(p, levels)
    assert standard_errors(draws.exp(), truth) < 5
    assert float(draws.mean()) + 5 * float(draws.std()) / 4000**0.5 < math.log(truth)
    repeated = model.importance_bound(torch.tensor(levels).expand(40, 2), samples=500, generator=generator)
    assert float(draws.mean()) < float(repeated.mean())
    assert abs(float(repeated.mean()) - math.log(truth)) < 0.02


def test_the_importance_bound_of_each_image_is_its_own(generator: torch.Generator) -> None:
    """Three different images at once, 2000 draws each, against SciPy's probabilities."""
    p = density()
    images = [(0, 2), (1, 1), (2, 0)]
    bounds = UniformDequantisation(p, K).importance_bound(torch.tensor(images), samples=2000, generator=generator)
    truth = torch.tensor([math.log(exact(p, image)) for image in images])
    assert close(bounds, truth, 0.15)
    assert float(truth.max() - truth.min()) > 0.5


def test_the_probabilities_of_all_images_sum_to_one(generator: torch.Generator) -> None:
    """With 3000 draws for each of the nine images; 5 standard errors (6e-7 of seeds fail)."""
    model = UniformDequantisation(density(), K)
    images = torch.cartesian_prod(torch.arange(K), torch.arange(K))
    draws = model.bound(images.repeat(3000, 1), generator=generator).exp().reshape(3000, 9)
    assert standard_errors(draws.sum(1), 1.0) < 5


def test_one_draw_of_the_importance_bound_is_the_bound(device: torch.device) -> None:
    model = UniformDequantisation(density(), K)
    levels = torch.randint(0, K, (5, 2))

    def noise() -> torch.Generator:
        return torch.Generator(device).manual_seed(1)

    one = model.importance_bound(levels, samples=1, generator=noise())
    assert close(one, model.bound(levels, generator=noise()), 1e-12)


def test_the_noise_fills_the_cell_of_its_level(generator: torch.Generator) -> None:
    """y = (x + u)/K falls back to x by the floor, mean of u within 5 standard errors of ½."""
    model = UniformDequantisation(density(), K)
    u = model.noise(torch.zeros(5000, 2), generator=generator).u
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    assert standard_errors(u, 0.5) < 5
    assert standard_errors((u - 0.5) ** 2, 1 / 12) < 5


def test_samples_are_levels_with_the_model_s_probabilities(generator: torch.Generator) -> None:
    """The share of one image among 20000 samples, within 5 standard errors."""
    p = density()
    levels = UniformDequantisation(p, K).sample(20000, generator=generator)
    assert levels.dtype == torch.long
    assert set(levels.unique().tolist()) == set(range(K))
    hits = (levels == torch.tensor([0, 2])).all(1).to(torch.get_default_dtype())
    assert standard_errors(hits, exact(p, (0, 2))) < 5


def test_the_gradient_of_the_bound_reaches_the_density(generator: torch.Generator) -> None:
    p = density().requires_grad_(True)
    UniformDequantisation(p, K).bound(torch.tensor([[0, 1]]), generator=generator).sum().backward()
    assert all(q.grad is not None for q in p.parameters())


def test_what_the_density_draws_outside_of_the_unit_cube_becomes_the_nearest_level(generator: torch.Generator) -> None:
    """A standard normal law: half of it lies below 0, a sixth above 1."""
    normal = FlowDensity(LinearFlow(1).transform)
    levels = UniformDequantisation(normal, K).sample(500, generator=generator)
    assert set(levels.flatten().tolist()) == {0, 1, 2}


def test_bad_levels_are_refused() -> None:
    model = UniformDequantisation(density(), K)
    with pytest.raises(ValueError, match=r"levels must be whole numbers in 0..2, got values in \[0, 3\]"):
        model.bound(torch.tensor([[0, 3]]))
    with pytest.raises(ValueError, match=r"levels must be whole numbers in 0..2, got values in \[0, 0.5\]"):
        model.bound(torch.tensor([[0.0, 0.5]]))
    with pytest.raises(ValueError, match="levels must have shape"):
        model.bound(torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="num_levels must be at least 2, got 1"):
        UniformDequantisation(density(), 1)
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        model.importance_bound(torch.zeros(2, dtype=torch.long), samples=0)
