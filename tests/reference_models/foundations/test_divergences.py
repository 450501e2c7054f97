"""Divergences, against SciPy, torch.distributions and quadrature; maximum likelihood as forward KL; the two fits."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy as scipy_entropy
from scipy.stats import multivariate_normal
from torch.distributions import MultivariateNormal
from torch.distributions import kl_divergence as torch_kl

from reference_models.foundations.divergences import (
    GaussianFit,
    cross_entropy,
    entropy,
    gaussian_kl,
    jensen_shannon,
    kl_divergence,
    law_of_counts,
    monte_carlo_jensen_shannon,
    monte_carlo_kl,
    reverse_kl_divergence,
)
from reference_models.parts.distributions import DiagonalNormal, GaussianMixture
from tests.reference_models.helpers import close, numpy, perturb


def laws(*shape: int) -> torch.Tensor:
    return torch.rand(shape).softmax(-1)


def covariances(*shape: int) -> torch.Tensor:
    root = torch.randn(*shape, shape[-1])
    return root @ root.mT + 0.3 * torch.eye(shape[-1])


@pytest.mark.parametrize("batch", [(), (64,)])
def test_divergences_of_finite_laws_are_scipys(batch):
    p, q = (3 * torch.randn(*batch, 6)).softmax(-1), (3 * torch.randn(*batch, 6)).softmax(-1)
    x, y = numpy(p), numpy(q)

    def theirs(values):
        return torch.as_tensor(values, device=p.device)

    assert close(kl_divergence(p, q), theirs(scipy_entropy(x, y, axis=-1)), 1e-12)
    assert close(reverse_kl_divergence(p, q), theirs(scipy_entropy(y, x, axis=-1)), 1e-12)
    assert close(entropy(p), theirs(scipy_entropy(x, axis=-1)), 1e-12)
    assert close(jensen_shannon(p, q), theirs(jensenshannon(x, y, axis=-1) ** 2), 1e-10)
    assert close(cross_entropy(p, q), entropy(p) + kl_divergence(p, q), 1e-12)


def test_outcomes_of_no_mass_cost_nothing_or_everything():
    p, q = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.25, 0.25, 0.5])
    assert float(kl_divergence(p, q)) == pytest.approx(math.log(2))
    assert float(kl_divergence(q, p)) == math.inf
    assert float(kl_divergence(p, p)) == 0
    apart = jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    assert float(apart) == pytest.approx(math.log(2))


def test_the_mean_negative_log_likelihood_is_entropy_plus_forward_kl():
    """Data's own law p̂: −(1/N) Σ log q(x_n) = H(p̂) + KL(p̂ ‖ q), and its minimum over q is at p̂."""
    outcomes = torch.tensor([0, 2, 2, 3, 2, 0, 1])
    p = law_of_counts(outcomes, 5)
    assert p.tolist() == pytest.approx([2 / 7, 1 / 7, 3 / 7, 1 / 7, 0])
    q = laws(5)
    nll = -q.log()[outcomes].mean()
    assert float(nll) == pytest.approx(float(entropy(p) + kl_divergence(p, q)), abs=1e-12)


def test_the_gradient_of_likelihood_is_that_of_forward_kl_and_not_of_reverse():
    outcomes = torch.tensor([0, 2, 2, 1, 1, 0, 1])
    p = law_of_counts(outcomes, 3)
    logits = torch.randn(3, requires_grad=True)

    def gradient(loss):
        return torch.autograd.grad(loss, logits)[0]

    likelihood = gradient(-logits.log_softmax(0)[outcomes].mean())
    assert close(gradient(kl_divergence(p, logits.softmax(0))), likelihood, 1e-12)
    assert not close(gradient(reverse_kl_divergence(p, logits.softmax(0))), likelihood, 1e-3)


@pytest.mark.parametrize("batch", [(), (64,)])
def test_the_kl_of_gaussians_is_that_of_torch_distributions(batch):
    mean_p, mean_q = torch.randn(*batch, 3), torch.randn(*batch, 3)
    cov_p, cov_q = covariances(*batch, 3), covariances(*batch, 3)
    theirs = torch_kl(MultivariateNormal(mean_p, cov_p), MultivariateNormal(mean_q, cov_q))
    assert close(gaussian_kl(mean_p, cov_p, mean_q, cov_q), theirs, 1e-9)
    assert close(gaussian_kl(mean_p, cov_p, mean_p, cov_p), torch.zeros(batch), 1e-12)


def test_monte_carlo_kl_meets_the_closed_form_within_its_error(generator):
    """5 standard errors of 4000 draws: 6e-7; and the error is that of log p − log q ~ N(½|δ|², |δ|²), |δ| = 1."""
    p = DiagonalNormal(torch.tensor([0.0, 0.0]), torch.zeros(2))
    q = DiagonalNormal(torch.tensor([0.6, -0.8]), torch.zeros(2))
    found = monte_carlo_kl(p, q, 4000, generator=generator)
    assert abs(float(found.value) - 0.5) < 5 * float(found.standard_error)  # |δ|²/2
    assert float(found.standard_error) == pytest.approx(1 / 4000**0.5, rel=0.1)


def test_monte_carlo_jensen_shannon_meets_quadrature(generator):
    p = DiagonalNormal(torch.tensor([0.0]), torch.tensor([0.0]))
    q = DiagonalNormal(torch.tensor([1.5]), torch.tensor([-0.5]))

    def density(law, x):
        return math.exp(float(law.log_prob(torch.tensor([x]))))

    def integrand(x):
        a, b = density(p, x), density(q, x)
        return 0.5 * (a * math.log(2 * a / (a + b)) + b * math.log(2 * b / (a + b)))

    exact = quad(integrand, -6, 6)[0]
    found = monte_carlo_jensen_shannon(p, q, 4000, generator=generator)
    assert abs(float(found.value) - exact) < 5 * float(found.standard_error)


def test_the_fitted_gaussian_has_scipys_density():
    fit = perturb(GaussianFit(3))
    x = torch.randn(64, 3)
    theirs = multivariate_normal(numpy(fit.mean), numpy(fit.covariance)).logpdf(numpy(x))
    assert close(fit.log_prob(x), torch.as_tensor(theirs, device=x.device), 1e-9)
    assert close(fit.log_prob(x[0]), fit.log_prob(x)[0], 1e-12)


def test_the_fitted_gaussian_draws_from_its_density(generator):
    """Mean and covariance of 20000 draws within 5 standard errors of a normal law's."""
    fit = perturb(GaussianFit(2))
    x = fit.sample(20000, generator=generator)
    cov = fit.covariance
    error = ((cov.diagonal()[:, None] * cov.diagonal() + cov**2) / 20000).sqrt()
    assert bool(((x.mean(0) - fit.mean).abs() < 5 * (cov.diagonal() / 20000).sqrt()).all())
    assert bool(((x.T.cov() - cov).abs() < 5 * error).all())
    assert not x.requires_grad


def two_modes() -> GaussianMixture:
    means = torch.tensor([[-2.0, 0.0], [2.0, 0.0]])
    return GaussianMixture(torch.tensor([0.5, 0.5]), means, 0.25 * torch.eye(2).repeat(2, 1, 1))


def test_the_forward_fit_matches_mean_and_covariance(generator):
    """Of the data, exactly, as maximum likelihood of a Gaussian does: L-BFGS to the sample's moments."""
    x = two_modes().sample(200, generator=generator)
    fit = GaussianFit(2)
    optimiser = torch.optim.LBFGS(
        fit.parameters(), max_iter=200, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        optimiser.zero_grad()
        loss = fit.forward_kl_loss(x)
        loss.backward()
        return loss

    optimiser.step(closure)
    assert close(fit.mean.detach(), x.mean(0), 1e-6)
    assert close(fit.covariance.detach(), x.T.cov(correction=0), 1e-6)


def test_the_reverse_fit_sits_in_one_mode(generator):
    """Started a little to one side: mean and covariance of that mode within 5 %, the loss about log 2 above 0."""
    target = two_modes()
    fit = GaussianFit(2, mean=torch.tensor([1.0, 0.2]))
    optimiser = torch.optim.Adam(fit.parameters(), lr=0.03)
    for _ in range(400):
        optimiser.zero_grad()
        fit.reverse_kl_loss(target, 256, generator=generator).backward()
        optimiser.step()
    assert close(fit.mean.detach(), target.means[1], 0.1)
    assert close(fit.covariance.detach(), target.covariances[1], 0.03)
    loss = fit.reverse_kl_loss(target, 2000, generator=generator).detach()
    assert float(loss) == pytest.approx(math.log(2), abs=0.05)


def test_the_reverse_loss_is_kl_in_value_and_gradient(generator):
    """Against one Gaussian value and gradient in the mean are closed: Σ⁻¹(μ − m). 5 standard errors of 200 losses."""
    mean = torch.tensor([0.5, -1.0])
    cov = torch.tensor([[1.0, 0.3], [0.3, 0.5]])
    target = GaussianMixture(torch.ones(1), mean[None], cov[None])
    fit = perturb(GaussianFit(2))
    values, gradients = [], []
    for _ in range(200):
        loss = fit.reverse_kl_loss(target, 20, generator=generator)
        values.append(loss.detach())
        gradients.append(torch.autograd.grad(loss, fit.mean)[0])
    exact = gaussian_kl(fit.mean, fit.covariance, mean, cov).detach()
    stacked = torch.stack(values)
    assert abs(float(stacked.mean() - exact)) < 5 * float(stacked.std()) / 200**0.5
    slope = torch.linalg.solve(cov, fit.mean.detach() - mean)
    found = torch.stack(gradients)
    assert bool(((found.mean(0) - slope).abs() < 5 * found.std(0) / 200**0.5).all())


def test_float32_agrees():
    p, q = laws(5), laws(5)
    assert kl_divergence(p.float(), q.float()).dtype == torch.float32
    assert float(kl_divergence(p.float(), q.float())) == pytest.approx(float(kl_divergence(p, q)), abs=1e-6)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"p must be probabilities with sum 1, got values from 0\.5, sums from 1\.5"):
        entropy(torch.full((3,), 0.5))
    with pytest.raises(ValueError, match=r"row of q must be probabilities with sum 1, got values from -0\.5"):
        kl_divergence(torch.tensor([0.5, 0.5]), torch.tensor([1.5, -0.5]))
    with pytest.raises(ValueError, match=r"laws must live on the same outcomes, got {'p': 2, 'q': 3}"):
        kl_divergence(laws(2), laws(3))
    with pytest.raises(ValueError, match=r"laws must live on the same outcomes, got {'p': 1, 'q': 3}"):
        jensen_shannon(torch.ones(1), laws(3))
    with pytest.raises(ValueError, match="cov_p must be symmetric, got one off by 1"):
        gaussian_kl(torch.zeros(2), torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.zeros(2), torch.eye(2))
    with pytest.raises(ValueError, match=r"every outcome must lie in 0\.\.2, got values in \[0, 3\]"):
        law_of_counts(torch.tensor([0, 3]), 3)
    with pytest.raises(ValueError, match="cov_q must be positive definite, got an eigenvalue of -1"):
        gaussian_kl(torch.zeros(2), torch.eye(2), torch.zeros(2), -torch.eye(2))
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        GaussianFit(0)
