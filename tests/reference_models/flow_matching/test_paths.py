"""Gaussian paths: their derivatives, the law they describe, and their equivalence with scores and diffusions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from reference_models.flow_matching.exact import ExactVelocity
from reference_models.flow_matching.paths import Linear, Trigonometric, VariancePreserving, change_path
from tests.reference_models.flow_matching.fields import PATHS, mixture, names
from tests.reference_models.helpers import close, jacobian, numpy, standard_errors

every_path = pytest.mark.parametrize("path", PATHS, ids=names)


@every_path
def test_derivatives_are_those_of_autograd(path):
    t = torch.linspace(0.02, 0.97, 9).requires_grad_()
    c = path.coefficients(t)
    assert close(torch.autograd.grad(c.alpha.sum(), t, retain_graph=True)[0], c.d_alpha)
    assert close(torch.autograd.grad(c.sigma.sum(), t)[0], c.d_sigma)


@pytest.mark.parametrize(("path", "last"), [(Linear(), 0.0), (Linear(0.1), 0.1), (Trigonometric(), 0.0)])
def test_a_path_leads_from_noise_to_data(path, last):
    c = path.coefficients(torch.tensor([0.0, 1.0]))
    assert close(c.alpha, torch.tensor([0.0, 1.0]))
    assert close(c.sigma, torch.tensor([1.0, last]))


def test_the_straight_path_is_the_line_between_noise_and_data():
    x_0, x_1 = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 4.0]])
    sample = Linear().interpolate(x_0, x_1, torch.tensor([0.25]))
    assert close(sample.x_t, torch.tensor([[1.5, -0.5]]))
    assert close(sample.dx_t, torch.tensor([[2.0, 6.0]]))


def test_the_variance_preserving_path_integrates_its_noise_schedule():
    path = VariancePreserving(0.3, 7.0)
    for t in (0.0, 0.2, 0.9):
        added = quad(lambda s: 0.3 + 6.7 * s, 0, 1 - t)[0]
        c = path.coefficients(torch.tensor(t))
        assert close(c.alpha, np.exp(-0.5 * added))
        assert close(c.sigma**2, 1 - np.exp(-added))


@every_path
def test_a_point_moves_with_the_velocity_of_its_own_cone(path):
    x_0, x_1, t, h = torch.randn(6, 3), torch.randn(6, 3), torch.linspace(0.1, 0.9, 6), 1e-5
    sample = path.interpolate(x_0, x_1, t)
    later, earlier = (path.interpolate(x_0, x_1, t + sign * h).x_t for sign in (1, -1))
    assert close(sample.dx_t, (later - earlier) / (2 * h), 1e-6)
    assert close(path.conditional_velocity(sample.x_t, x_1, t), sample.dx_t)


@every_path
def test_the_time_of_a_ratio_undoes_the_ratio(path):
    t = torch.linspace(0.05, 0.95, 7)
    c = path.coefficients(t)
    assert close(path.time_of(torch.log(c.alpha / c.sigma)), t)


@every_path
def test_velocity_and_expectations_are_those_of_conditioning_one_gaussian(path):
    """(x_1, x_0, x_t) is jointly Gaussian when data are; the textbook formula gives E[x_1 | x_t] and E[x_0 | x_t]."""
    A = torch.randn(3, 3)
    mean, covariance = torch.randn(3), A @ A.T + 0.3 * torch.eye(3)
    x, t = torch.randn(3), torch.tensor(0.35)
    c = path.coefficients(t)
    S = c.alpha**2 * covariance + c.sigma**2 * torch.eye(3)
    residual = torch.linalg.solve(S, x - c.alpha * mean)
    data, noise = mean + c.alpha * covariance @ residual, c.sigma * residual
    velocity = c.d_alpha * data + c.d_sigma * noise
    assert close(path.combine(data, noise, t), velocity)
    assert close(path.expected_data(x, velocity, t), data)
    assert close(path.expected_noise(x, velocity, t), noise)
    assert close(path.score(x, velocity, t), -residual)
    assert close(path.velocity(x, -residual, t), velocity)


def test_the_score_link_of_the_straight_path_by_hand():
    """u = (x + (1 − t) s) / t, with u and s of N(2, 0.5²) in closed form."""
    x, t, m, s = torch.randn(5, 1), torch.tensor(0.6), 2.0, 0.5
    variance = t**2 * s**2 + (1 - t) ** 2
    u = m + (t * s**2 - (1 - t)) / variance * (x - t * m)
    score = -(x - t * m) / variance
    assert close(u, (x + (1 - t) * score) / t)
    assert close(Linear().score(x, u, t), score)
    assert close(Linear().velocity(x, score, t), u)


@every_path
def test_the_exact_velocity_gives_the_score_of_the_mixture(path):
    target, x = mixture(), (2 * torch.randn(20, 2)).requires_grad_()
    for t in (0.1, 0.5, 0.9):
        time = torch.tensor(t)
        c = path.coefficients(time)
        log_p = target.noised(c.alpha, c.sigma).log_prob(x)
        (score,) = torch.autograd.grad(log_p.sum(), x)
        u = ExactVelocity(target, path)(x.detach(), time)
        assert close(path.score(x.detach(), u, time), score, 1e-8)
        assert close(path.velocity(x.detach(), score, time), u, 1e-8)


@every_path
def test_the_exact_velocity_moves_the_law_along_the_path(path):
    """∂ log p + u·∇ log p + div u = 0, the continuity equation, every term by autograd."""
    target = mixture()
    velocity = ExactVelocity(target, path)
    for x in torch.randn(5, 2):
        x, t = x.requires_grad_(), torch.tensor(0.4, requires_grad=True)
        c = path.coefficients(t)
        log_p = target.noised(c.alpha, c.sigma).log_prob(x)
        score, rate = torch.autograd.grad(log_p, (x, t))
        divergence = jacobian(lambda point: velocity(point, torch.tensor(0.4)), x).trace()
        assert close(rate + velocity(x, torch.tensor(0.4)) @ score + divergence, 0.0, 1e-8)


def test_the_exact_velocity_is_the_mean_of_conditional_ones(generator):
    """E[(dx_t − u_t(x_t)) φ(x_t, t)] = 0 for any φ: four of them, 40 000 draws, five standard errors."""
    target, n = mixture(), 40000
    x_1, x_0 = target.sample(n, generator=generator), torch.randn(n, 2, generator=generator)
    t = torch.rand(n, generator=generator)
    sample = Trigonometric().interpolate(x_0, x_1, t)
    residual = sample.dx_t - ExactVelocity(target, Trigonometric())(sample.x_t, t)
    for phi in (torch.ones(n), t, sample.x_t[:, 0], torch.sin(3 * sample.x_t[:, 1]) * t):
        assert standard_errors(residual * phi[:, None], 0.0) < 5


def test_the_exact_velocity_of_a_label_is_that_of_its_component():
    target, x, t = mixture(), torch.randn(4, 2), torch.tensor([0.0, 0.3, 0.7, 1.0])
    y = torch.tensor([2, 0, 1, -1])
    mixed = ExactVelocity(target)(x, t, y)
    for i, k in enumerate([2, 0, 1]):
        one = type(target)(torch.ones(1), target.means[k : k + 1], target.covariances[k : k + 1])
        assert close(mixed[i], ExactVelocity(one)(x[i], t[i]))
    assert close(mixed[3], ExactVelocity(target)(x[3], t[3]))


def test_the_variance_preserving_velocity_is_the_probability_flow_of_diffusion():
    """In diffusion time s = 1 − t the flow is dx/ds = −½β(s)(x + ∇log p), with opposite sign in t."""
    path, target, t = VariancePreserving(0.1, 20.0), mixture(), torch.tensor(0.7)
    x = torch.randn(8, 2)
    added = 0.1 * 0.3 + 0.5 * 19.9 * 0.3**2
    p = target.noised(np.exp(-0.5 * added), np.sqrt(1 - np.exp(-added)))
    beta = 0.1 + 19.9 * 0.3
    assert close(ExactVelocity(target, path)(x, t), 0.5 * beta * (x + p.score(x)))
    assert close(path.sde(t).drift, -0.5 * beta)
    assert close(path.sde(t).diffusion, beta)


def test_the_diffusion_of_the_straight_path_by_hand():
    sde = Linear().sde(torch.tensor([0.25, 0.8]))
    assert close(sde.drift, torch.tensor([-4.0, -1.25]))
    assert close(sde.diffusion, torch.tensor([6.0, 0.5]))


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(PATHS, 2)), ids=str)
def test_changing_the_path_changes_the_law_accordingly(source, target):
    """The map is linear, so means and covariances decide; a network's expected data point carries over."""
    law, x, t = mixture(), torch.randn(3, 2), torch.tensor([0.3, 0.5, 0.6])
    place = change_path(x, t, source, target)
    a, b = source.coefficients(t), target.coefficients(place.t)
    factor = place.x[:, 0] / x[:, 0]
    for i in range(3):
        before, after = law.noised(a.alpha[i], a.sigma[i]), law.noised(b.alpha[i], b.sigma[i])
        assert close(factor[i] * before.means, after.means, 1e-8)
        assert close(factor[i] ** 2 * before.covariances, after.covariances, 1e-8)
    here = source.expected_data(x, ExactVelocity(law, source)(x, t), t)
    there = target.expected_data(place.x, ExactVelocity(law, target)(place.x, place.t), place.t)
    assert close(here, there, 1e-7)


@pytest.mark.parametrize("batch", [(), (64,)], ids=str)
def test_every_batch_shape_and_single_precision(batch):
    x_0, x_1 = torch.randn(*batch, 1, 4, 4), torch.randn(*batch, 1, 4, 4)
    t = torch.rand(batch)
    double = Linear().interpolate(x_0, x_1, t)
    single = Linear().interpolate(x_0.float(), x_1.float(), t.float())
    assert single.x_t.dtype == torch.float32
    assert close(single.x_t.double(), double.x_t, 1e-5)
    for name in ("score", "expected_data", "expected_noise", "velocity"):
        assert getattr(Linear(), name)(x_0, x_1, 0.1 + 0.8 * t).shape == x_0.shape


def test_each_example_has_its_own_time():
    x_0, x_1, t = torch.randn(5, 2, 2), torch.randn(5, 2, 2), torch.rand(5)
    together = Trigonometric().interpolate(x_0, x_1, t)
    for i in range(5):
        assert close(together.x_t[i], Trigonometric().interpolate(x_0[i], x_1[i], t[i]).x_t)


def test_bad_input_is_refused():
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match=r"every t must lie in \[0, 1\], got values in \[0, 1.5\]"):
        Linear().interpolate(x, x, torch.tensor([0.0, 0.5, 1.5]))
    with pytest.raises(ValueError, match="must have one shape"):
        Linear().interpolate(x, x[:2], torch.tensor(0.5))
    with pytest.raises(ValueError, match=r"batch shape of x \(3, 2\), got \(2,\)"):
        Linear().interpolate(x, x, torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match=r"sigma_min must lie in \[0, 1\), got 1"):
        Linear(1.0)
    with pytest.raises(ValueError, match="beta_max must be at least"):
        VariancePreserving(3.0, 2.0)
    with pytest.raises(ValueError, match=r"t must lie in \(0, 1\)"):
        change_path(x, torch.zeros(3), Linear(), Trigonometric())
    with pytest.raises(ValueError, match=r"reaches no such ratio: its t would be -0.4"):
        change_path(x, torch.full((3,), 0.2), Linear(), VariancePreserving(2.0, 2.0))


def test_numbers_of_the_module_docstring():
    assert numpy(VariancePreserving().coefficients(torch.tensor(0.0)).alpha) == pytest.approx(0.0066, abs=1e-4)
