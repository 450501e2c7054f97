"""The probability flow against exact densities, exact maps of Gaussians, quadrature and torchdiffeq."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal
from torchdiffeq import odeint

from reference_models.diffusion.probability_flow import ProbabilityFlow
from reference_models.diffusion.score_sde import ScoreSDE
from reference_models.diffusion.sde import SDE, VE, VP, SubVP
from reference_models.exact import off_by
from reference_models.parts.distributions import GaussianMixture
from reference_models.parts.networks import TimeMLP
from reference_models.protocols import Density, Flow
from tests.reference_models.helpers import close, perturb, standard_errors

M, S2 = 0.8, 0.36
SDES = [VP(0.3, 9.0), SubVP(0.3, 9.0), VE(0.2, 6.0)]


def law(sde: SDE, t: float) -> Normal:
    """p_t of data N(m, s²)."""
    time = torch.tensor(t)
    return Normal(sde.a(time) * M, (sde.a(time) ** 2 * S2 + sde.sigma(time) ** 2).sqrt())


def gaussian_score(sde: SDE):
    def score(x: Tensor, t: Tensor) -> Tensor:
        p = law(sde, float(t))
        return -(x - p.mean) / p.variance

    return score


def mixture() -> GaussianMixture:
    covariances = torch.tensor([[[0.3, 0.1], [0.1, 0.2]], [[0.4, -0.2], [-0.2, 0.5]]])
    return GaussianMixture(torch.tensor([0.4, 0.6]), torch.tensor([[-1.0, 0.0], [1.0, 0.5]]), covariances)


def noised(sde: SDE, t: Tensor) -> GaussianMixture:
    return mixture().noised(sde.a(t), sde.sigma(t))


@pytest.mark.parametrize("sde", SDES)
def test_gaussian_data_are_carried_by_their_quantiles(sde):
    """z = mean_1 + std_1/std_0 (x − mean_0), log|dz/dx| = log std_1/std_0; and back."""
    flow = ProbabilityFlow(gaussian_score(sde), sde, (1,), steps=100, t_min=0.01)
    x = torch.linspace(-1, 3, 9).unsqueeze(1)
    p, base = law(sde, 0.01), law(sde, 1.0)
    z, logdet = flow.forward(x)
    assert close(z, base.mean + base.stddev / p.stddev * (x - p.mean), 1e-5)
    assert close(logdet, (base.stddev / p.stddev).log().expand(9), 1e-5)
    back, logdet_back = flow.inverse(z)
    assert close(back, x, 1e-5)
    assert close(logdet_back, -logdet, 1e-5)


@pytest.mark.parametrize("sde", SDES)
def test_the_density_of_a_mixture_is_exact_with_its_own_noise(sde):
    """With the score of the noised mixture and p_1 as base, log p is that of the mixture at t_min, in the plane."""
    base = noised(sde, torch.ones(()))
    flow = ProbabilityFlow(lambda x, t: noised(sde, t).score(x), sde, (2,), base=base, steps=80, t_min=0.02)
    x = 1.5 * torch.randn(20, 2)
    assert close(flow.log_prob(x), noised(sde, torch.tensor(0.02)).log_prob(x), 1e-4)


def test_the_default_base_is_the_noise_that_sampling_starts_from():
    """log p(x) = log N(z; 0, prior_std²) + log|dz/dx|, off the data's density by the mismatch of p_1 alone."""
    for sde in SDES:
        flow = ProbabilityFlow(gaussian_score(sde), sde, (1,), steps=100, t_min=0.01)
        x = torch.linspace(-1, 3, 9).unsqueeze(1)
        p, base = law(sde, 0.01), law(sde, 1.0)
        z = base.mean + base.stddev / p.stddev * (x - p.mean)
        expected = Normal(0.0, sde.prior_std).log_prob(z) + (base.stddev / p.stddev).log()
        assert close(flow.log_prob(x), expected.squeeze(1), 1e-4)


def test_the_density_integrates_to_one():
    sde = SDES[0]
    flow = ProbabilityFlow(gaussian_score(sde), sde, (1,), steps=40, t_min=0.01)
    x = torch.linspace(-4, 6, 2001).unsqueeze(1)
    assert close(torch.trapezoid(flow.log_prob(x).exp(), x.squeeze(1)), 1.0, 1e-6)


def test_a_network_is_followed_as_torchdiffeq_follows_it():
    """State and divergence of a perturbed network in three dimensions, against dopri5 at 1e-8 with Jacobians."""
    sde = VP(0.3, 3.0)
    model = ScoreSDE(perturb(TimeMLP(3, [8], 3)), sde, (3,))
    flow = ProbabilityFlow(model.score, sde, (3,), steps=60, t_min=0.1)
    x = torch.randn(3)

    def field(t: Tensor, state: Tensor) -> Tensor:
        def velocity(v: Tensor) -> Tensor:
            return sde.drift_rate(t) * v - 0.5 * sde.diffusion(t) ** 2 * model.score(v, t)

        return torch.cat([velocity(state[:3]), torch.func.jacrev(velocity)(state[:3]).trace()[None]])

    with torch.no_grad():
        exact = odeint(field, torch.cat([x, torch.zeros(1)]), torch.tensor([0.1, 1.0]), rtol=1e-8, atol=1e-8)[-1]
    z, logdet = flow.forward(x)
    assert close(z, exact[:3], 1e-6)
    assert close(logdet, exact[3], 1e-6)


def test_hutchinson_uses_one_probe_for_a_whole_solve(device):
    """For the linear field of a correlated Gaussian, the estimate is ∫ wᵀ A(t) w dt with w fixed, by Simpson's rule."""
    sde = SDES[0]
    covariance = torch.tensor([[0.5, 0.3], [0.3, 0.4]])

    def matrix(t: Tensor) -> Tensor:
        total = sde.a(t) ** 2 * covariance + sde.sigma(t) ** 2 * torch.eye(2)
        return sde.drift_rate(t) * torch.eye(2) + 0.5 * sde.diffusion(t) ** 2 * torch.linalg.inv(total)

    def score(x: Tensor, t: Tensor) -> Tensor:
        total = sde.a(t) ** 2 * covariance + sde.sigma(t) ** 2 * torch.eye(2)
        return -torch.linalg.solve(total, x.mT).mT

    flow = ProbabilityFlow(score, sde, (2,), steps=100, t_min=0.1, divergence="hutchinson")
    x = torch.randn(6, 2)
    _, logdet = flow.forward(x, generator=torch.Generator(device).manual_seed(5))
    w = 2.0 * torch.randint(2, (6, 2), generator=torch.Generator(device).manual_seed(5)) - 1
    grid = torch.linspace(0.1, 1.0, 201)
    weights = torch.tensor([1.0, *[4.0, 2.0] * 99, 4.0, 1.0]) * (0.9 / 200 / 3)
    integral = sum(weight * matrix(t) for weight, t in zip(weights, grid, strict=True))
    assert close(logdet, torch.einsum("ni,ij,nj->n", w, integral, w), 1e-4)


def test_hutchinson_is_right_on_average(generator):
    """4000 solves of one point within 5 standard errors of the exact divergence; by chance 6e-7."""
    sde = SDES[0]
    options = {"steps": 10, "t_min": 0.1, "method": "heun"}
    exact = ProbabilityFlow(lambda x, t: noised(sde, t).score(x), sde, (2,), **options)
    rough = ProbabilityFlow(lambda x, t: noised(sde, t).score(x), sde, (2,), divergence="hutchinson", **options)
    x = torch.tensor([[-1.2, 0.3]])
    logdets = rough.forward(x.expand(4000, 2), generator=generator)[1]
    assert standard_errors(logdets.reshape(-1, 1), exact.forward(x)[1]) < 5
    assert float(logdets.std()) > 0.01


def test_samples_have_the_law_of_the_flow(generator):
    """The affine image of the base: mean and deviation of 20000 samples within 5 standard errors, by chance 1e-6."""
    for sde in SDES:
        flow = ProbabilityFlow(gaussian_score(sde), sde, (1,), steps=40, t_min=0.01)
        p, base = law(sde, 0.01), law(sde, 1.0)
        ratio = float(p.stddev / base.stddev)
        x = flow.sample(20000, generator=generator)
        assert off_by(x, float(p.mean) - ratio * float(base.mean), ratio * sde.prior_std) < 5


def test_samples_of_a_given_base_and_of_given_noise(generator):
    sde = SDES[0]
    base = noised(sde, torch.ones(()))
    flow = ProbabilityFlow(lambda x, t: noised(sde, t).score(x), sde, (2,), base=base, steps=10)
    noise = torch.randn(3, 2)
    assert close(flow.sample(3, noise=noise), flow.inverse(noise)[0], 1e-10)
    x = flow.sample(4000, generator=generator)
    assert standard_errors(x, noised(sde, torch.tensor(1e-3)).mean) < 5.5
    assert isinstance(flow, Flow)
    assert isinstance(flow, Density)


def test_images_one_or_many_in_float32():
    model = ScoreSDE(perturb(TimeMLP(4, [8], 4)), VP(), (4,)).float()

    def score(x: Tensor, t: Tensor) -> Tensor:
        return model.score(x.flatten(1), t).reshape(x.shape)

    flow = ProbabilityFlow(score, VP(), (1, 2, 2), steps=10)
    x = torch.randn(64, 1, 2, 2, dtype=torch.float32)
    log_p = flow.log_prob(x)
    assert log_p.dtype == torch.float32
    assert log_p.shape == (64,)
    assert flow.log_prob(x[3]).shape == ()
    assert close(flow.log_prob(x[3]), log_p[3], 1e-2 * abs(float(log_p[3])))
    assert not log_p.requires_grad


def test_what_does_not_fit_is_refused():
    score = gaussian_score(SDES[0])
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        ProbabilityFlow(score, SDES[0], (1,), steps=0)
    with pytest.raises(ValueError, match="divergence must be one of 'exact', 'hutchinson', got 'none'"):
        ProbabilityFlow(score, SDES[0], (1,), divergence="none")
    with pytest.raises(ValueError, match=r"t_min must lie in \[0, 1\), got 1"):
        ProbabilityFlow(score, SDES[0], (1,), t_min=1.0)
    with pytest.raises(ValueError, match=r"x must have shape \(1\)"):
        ProbabilityFlow(score, SDES[0], (1,)).log_prob(torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"noise must have shape \(5, 1\), got \(1, 1\)"):
        ProbabilityFlow(score, SDES[0], (1,)).sample(5, noise=torch.zeros(1, 1))
    assert math.isfinite(float(ProbabilityFlow(score, SDES[0], (1,), steps=2).log_prob(torch.zeros(1))))


def test_samples_have_the_precision_of_the_network(generator):
    network = ScoreSDE(TimeMLP(2, [8], 2), SDES[0], (2,)).float()
    flow = ProbabilityFlow(network.score, SDES[0], (2,), steps=2, like=network)
    assert flow.sample(3, generator=generator).dtype == torch.float32
    assert flow.sample(3).shape == (3, 2)
